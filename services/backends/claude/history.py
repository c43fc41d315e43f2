"""The messages before a prompt, as claude takes them: turns of a conversation that it did not have itself."""

from collections.abc import Iterable, Iterator

from services.backends.claude.wire import answer, remark
from services.chat import ChatMessage


def parts(messages: Iterable[ChatMessage], question: bytes) -> Iterator[bytes]:
    """What is said to claude, in parts; after each but the last its empty ``result`` has to be awaited.

    It takes a line of the model's at once, but puts one of the user's into a queue, from where it goes into the
    conversation some milliseconds later: all lines at once would bring the turns out of their order.  Messages without
    a word are left out, as claude does, which would answer them nothing.
    """
    said = b""
    for message in messages:
        if not message.text.strip():
            continue
        if message.role == "assistant":
            said += answer(message.text)
        else:
            yield said + remark(message.text)
            said = b""
    yield said + question
