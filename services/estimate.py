"""Tokens of a text, roughly, where nobody has counted them.

Every model has a tokenizer of its own, and the CLIs tell the counts only afterwards.  Bytes of UTF-8 are what the
tokenizers begin with: English and code take between 3 and 4.5 of them for a token, CJK about 3, other scripts between.
"""

import math
from collections.abc import Iterable

BYTES_PER_TOKEN = 3.5
PER_MESSAGE = 4
"""What a message takes beside its text: its role and its ends."""


class Tally:
    """Counts a text that comes in pieces."""

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, piece: str) -> None:
        """The text goes on."""
        self._bytes += len(piece) if piece.isascii() else len(piece.encode("utf-8", "surrogatepass"))

    @property
    def tokens(self) -> int:
        """The tokens so far; no text has none."""
        return math.ceil(self._bytes / BYTES_PER_TOKEN)


def tokens_of(text: str) -> int:
    """The tokens of a text."""
    tally = Tally()
    tally.add(text)
    return tally.tokens


def tokens_of_messages(texts: Iterable[str]) -> int:
    """The tokens of a conversation: of its system text, which is one of the texts, and its messages."""
    return sum(tokens_of(text) + PER_MESSAGE for text in texts)
