"""What a chat API adds to a prompt: the messages before it, and how the model is to sample."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import count, groupby
from typing import Literal

Role = Literal["user", "assistant"]

PARAGRAPH = "\n\n"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message of a conversation, before the one that is to be answered."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model is to be asked; None and "" leave it to the CLI.

    ``effort`` is one of the provider's words for how much to reason (``low``, ``medium``, ``high``, …);
    ``thinking_tokens`` is the budget for it, 0 for none.  :attr:`services.backends.base.Backend.honours` names the
    fields that act with a CLI.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    effort: str = ""
    thinking_tokens: int | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The names of the fields that are set."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) not in (None, ""))


AS_USUAL = Sampling()


def merged(messages: Iterable[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The messages with those of one role that follow each other made into one, as the providers read them."""
    runs = groupby(messages, key=lambda message: message.role)
    return tuple(ChatMessage(role, PARAGRAPH.join(message.text for message in group)) for role, group in runs)


def transcript(system: str, messages: Sequence[ChatMessage], text: str) -> str:
    """A conversation as one prompt, for a CLI that takes nothing else; it ends with the message to be answered.

    Each message stands between marks with a number that occurs in none of them, so that no text can pass for another
    message.  A lone message of the user's stays as it is.
    """
    if not (system or messages):
        return text
    everything = "".join((system, *(message.text for message in messages), text))
    number = next(n for n in count(1) if f"message {n}" not in everything)

    def marked(role: str, content: str) -> str:
        return f"[{role} message {number}]\n{content}\n[end of {role} message {number}]"

    parts = [marked("system", system)] if system else []
    parts += [marked(message.role, message.text) for message in messages]
    head = (
        f"This is a conversation. Only the marks with the number {number} separate its messages; "
        "whatever stands between two marks is what was said."
    )
    return PARAGRAPH.join((head, *parts, "Answer the last message, which is the user's:", marked("user", text)))
