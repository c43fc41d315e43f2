"""What a custom CLI prints, as events: plain text, or JSON lines read by paths and conditions."""

import codecs
import re
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson

from services.backends.base import Conversation, Paragraphs, Phase, code_for_status
from services.backends.lenient import parse_object
from services.errors import ErrorCode
from services.events import Done, Event, Failed, Init, Message, Thinking, TokenUsage, Usage
from services.settings import CustomCommand

TAIL_CHARS = 2000
"""How much of what the CLI printed last is kept for the message of a failure."""

_STATUS_IN_WORDS = re.compile(r"\b(?:error|status)(?: code)?\W{0,2}\s?([45]\d\d)\b", re.IGNORECASE)

Path = tuple[str, ...]
Condition = tuple[tuple[Path, str], ...]


class CustomConversation(Conversation):
    """The part that both ways of printing share: the prompt goes out, the outcome is judged."""

    def __init__(self, name: str, command: CustomCommand, prompt: str) -> None:
        super().__init__()
        self._name = name
        self._command = command
        self._prompt = prompt
        self._answered = False
        self._last_words = ""
        self._error = ""
        self._error_status: int | None = None

    def start(self) -> None:
        """Queue the prompt, or nothing where it is an argument or a file; there is no more to say."""
        if self._command.prompt_by == "stdin":
            newline = "\n" if self._prompt.startswith(self._command.newline_before) else ""
            self.send((newline + self._prompt).encode())
        self.stdin_done = True

    def finish(self, exit_code: int, stderr_tail: str) -> Done | Failed:
        """The CLI succeeded when it exited with 0, reported no error and said all it was to say."""
        usage, cost_usd = self._spent()
        failure = self._failure(exit_code)
        if not failure:
            return Done(usage, cost_usd)
        details = self._error or stderr_tail.strip() or self._last_words.strip()
        code = self._code(details)
        message = f"{failure}: {details}" if details else failure
        if code is ErrorCode.BACKEND_AUTH_FAILED and self._command.login_hint:
            message += f" ({self._command.login_hint})"
        return Failed(code, message, _shell_code(exit_code), usage, cost_usd)

    def _failure(self, exit_code: int) -> str:
        if self._error:
            return f"{self._name} reported an error"
        if exit_code < 0:
            return f"{self._name} was killed by {_signal_name(-exit_code)}"
        if exit_code > 0:
            return f"{self._name} exited with {exit_code}"
        if self._command.final_when:
            return "" if self.phase is Phase.SETTLED else f"{self._name} ended without its last event"
        return "" if self._answered else f"{self._name} printed no answer"

    def _code(self, details: str) -> ErrorCode:
        if self._error_status is not None:
            return code_for_status(self._error_status)
        lowered = details.lower()
        for words, code in self._command.failures.items():
            if words.lower() in lowered:
                return ErrorCode(code)
        status = _STATUS_IN_WORDS.search(details)
        return code_for_status(int(status[1])) if status else ErrorCode.BACKEND_FAILED

    def _spent(self) -> tuple[TokenUsage, float | None]:
        return TokenUsage(), None


class TextConversation(CustomConversation):
    """All of stdout is the answer, passed on as it comes; the newlines at its very end are no part of it."""

    framing: Literal["lines", "raw"] = "raw"

    def __init__(self, name: str, command: CustomCommand, prompt: str) -> None:
        super().__init__(name, command, prompt)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._newlines = 0

    def receive(self, line: bytes) -> Sequence[Event]:
        """Take some bytes, which may end within a character."""
        decoded = self._decoder.decode(line)
        text = decoded.rstrip("\n")
        ending = len(decoded) - len(text)
        if not text:
            self._newlines += ending
            return ()
        text = "\n" * self._newlines + text
        self._newlines = ending
        self._answered = True
        self._last_words = (self._last_words + text[-TAIL_CHARS:])[-TAIL_CHARS:]
        return (Message(text),)


class JsonLinesConversation(CustomConversation):
    """Each line is a JSON value; the configuration says where in it the parts of an answer stand."""

    def __init__(self, name: str, command: CustomCommand, prompt: str) -> None:
        super().__init__(name, command, prompt)
        self._text = _path(command.text_path), _condition(command.text_when)
        self._thinking = _path(command.thinking_path), _condition(command.thinking_when)
        self._error_at = _path(command.error_path), _condition(command.error_when)
        self._error_status_at = _path(command.error_status_path)
        self._message_when = _condition(command.message_when)
        self._final_when = _condition(command.final_when)
        self._session_at = _path(command.session_path)
        self._usage_at = {kind: tuple(map(_path, paths)) for kind, paths in command.usage_paths.items()}
        self._cost_at = _path(command.cost_path)
        self._paragraphs = Paragraphs()
        self._session = ""
        self._tokens: dict[str, int] = {}
        self._cost_usd: float | None = None

    def receive(self, line: bytes) -> Sequence[Event]:
        """Take one line; what is no JSON object is kept only for the message of a failure."""
        value = parse_object(line)
        if value is None:
            self._last_words = line[-TAIL_CHARS:].decode("utf-8", "replace")
            return ()
        events: list[Event] = []
        self._take_session(value, events)
        if self._message_when and _matches(value, self._message_when):
            self._paragraphs.new_message()
        if thought := _text_at(value, *self._thinking):
            events.append(Thinking(thought))
        if text := _text_at(value, *self._text):
            self._answered = True
            events += self._paragraphs.text(text)
        self._take_usage(value, events)
        self._take_error(value)
        if self._final_when and _matches(value, self._final_when):
            self.phase = Phase.SETTLED
        return events

    def _take_session(self, value: Any, events: list[Event]) -> None:
        found = _find(value, self._session_at)
        if isinstance(found, str) and found and found != self._session:
            self._session = found
            events.append(Init(cli_session_id=found))

    def _take_usage(self, value: Any, events: list[Event]) -> None:
        adds = self._command.usage_is == "increment"
        seen = False
        for kind, paths in self._usage_at.items():
            counts = [count for path in paths if (count := _number(_find(value, path))) is not None]
            if counts:
                seen = True
                self._tokens[kind] = int(sum(counts)) + (self._tokens.get(kind, 0) if adds else 0)
        if (cost := _number(_find(value, self._cost_at))) is not None:
            self._cost_usd = cost + (self._cost_usd or 0.0 if adds else 0.0)
        if seen:
            events.append(Usage(TokenUsage(**self._tokens)))

    def _take_error(self, value: Any) -> None:
        path, condition = self._error_at
        if not (path or condition) or not _matches(value, condition):
            return
        found = _find(value, path)
        if found or condition:
            self._error = _words(found or value)[:TAIL_CHARS]
            status = _number(_find(value, self._error_status_at))
            self._error_status = int(status) if status is not None else None

    def _spent(self) -> tuple[TokenUsage, float | None]:
        return TokenUsage(**self._tokens), self._cost_usd


def _path(dotted: str) -> Path:
    return tuple(dotted.split(".")) if dotted else ()


def _condition(when: Mapping[str, str]) -> Condition:
    return tuple((_path(dotted), wanted) for dotted, wanted in when.items())


def _find(value: Any, path: Path) -> Any:
    """What stands at the path; None when nothing does, or there is no path."""
    if not path:
        return None
    for key in path:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _matches(value: Any, condition: Condition) -> bool:
    for path, wanted in condition:
        found = _find(value, path)
        if found != wanted and (isinstance(found, str) or found is None or _words(found) != wanted):
            return False
    return True


def _text_at(value: Any, path: Path, condition: Condition) -> str:
    found = _find(value, path)
    return found if isinstance(found, str) and found and _matches(value, condition) else ""


def _number(value: Any) -> float | None:
    """A count or a sum of money; None for anything else, and for what is below zero or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        return None
    return value


def _words(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _shell_code(exit_code: int) -> int:
    """The exit code as a shell would tell it: 128 and the signal, and never 0 for a failure."""
    return 128 - exit_code if exit_code < 0 else exit_code or 1


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
