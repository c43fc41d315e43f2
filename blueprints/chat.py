"""What the chat APIs share: from a conversation and the headers of its request to a run, and what is told of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from flask import Response, jsonify, request

from blueprints import sse
from blueprints.chat_headers import (
    APPROVAL,
    ESTIMATED,
    IGNORED,
    RUN,
    SANDBOX,
    SESSION,
    TOOLS,
    TOOLS_WORDS,
    USAGE,
    WORKDIR,
)
from blueprints.context import services
from blueprints.errors import of_failure
from blueprints.requests import client_fd, owner
from blueprints.streaming import Write, stream_run
from services.chat import AS_USUAL, ChatMessage, Sampling, merged
from services.deadline import Deadline
from services.errors import ClinvkError, ErrorCode
from services.estimate import tokens_of_messages
from services.events import Done, Event, Failed, Message, Thinking
from services.prompts import Prompt
from services.running import Running
from services.settings import APPROVAL_MODES, SANDBOX_MODES

USAGE_ESTIMATED = f": {USAGE}: {ESTIMATED}\n\n".encode()
"""The same in a stream, whose headers are out before the tokens are known; a comment, which no client sees."""

NAMES = {
    "backend": "model",
    "workdir": WORKDIR,
    "approval_mode": APPROVAL,
    "sandbox_mode": SANDBOX,
    "session_id": SESSION,
}
"""Where a prompt's fields stand in a request of a chat API."""

Word = TypeVar("Word", bound=str)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client asks of a chat API.

    ``messages`` has at least one, and the last one is the user's; ``location`` is where its text stands in the request.
    ``ignored`` names the fields of the request that were accepted and do nothing.
    """

    model: str
    system: str
    messages: tuple[ChatMessage, ...]
    location: str = "messages"
    max_tokens: int = 0
    sampling: Sampling = AS_USUAL
    stop: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def start(ask: Ask, default_backend: str = "") -> Running:
    """Start the run that answers; ``default_backend`` answers to a model that nobody knows.

    A model answers, and no agent, unless the configuration or a header says otherwise; it keeps nothing of the
    conversation, unless a header names a session.  Raises ClinvkError naming the field or header at fault.
    """
    choice = services().models.choose(ask.model, default_backend)
    *earlier, last = merged(ask.messages)
    session = request.headers.get(SESSION, "").strip()
    as_model = not _wants_agent()
    prompt = Prompt(
        choice.backend,
        last.text,
        model=choice.model,
        workdir=request.headers.get(WORKDIR, ""),
        session_id=session,
        ephemeral=not session,
        approval_mode=_word(APPROVAL, APPROVAL_MODES),
        sandbox_mode=_word(SANDBOX, SANDBOX_MODES),
        max_tokens=ask.max_tokens,
        system_prompt=ask.system if as_model else "",
        append_system_prompt="" if as_model else ask.system,
        messages=tuple(earlier),
        sampling=ask.sampling,
        stop=ask.stop,
        chat=True,
        as_model=as_model,
        owner=owner(),
    )
    deadline = Deadline.after(services().config.server.request_timeout_secs)
    try:
        return services().sessions.start(prompt, client_fd=client_fd(), deadline=deadline)
    except ClinvkError as error:
        raise _renamed(error, NAMES | {"prompt": ask.location}) from error


def input_tokens(ask: Ask) -> int:
    """About how many tokens the model is asked with."""
    return tokens_of_messages((ask.system, *(message.text for message in ask.messages)))


def headers(run: Running, ask: Ask, names: Mapping[str, str]) -> dict[str, str]:
    """What the headers of an answer tell of its run.

    ``names`` are the dialect's for the fields of Sampling, "" for one that the request did not have.
    """
    unused = () if _wants_agent() else (name.lower() for name in (APPROVAL, SANDBOX) if name in request.headers)
    sampling = (names.get(name, name) for name in run.ignored)
    ignored = dict.fromkeys(filter(None, (*ask.ignored, *sampling, *unused)))
    told = {RUN: run.run_id, SESSION: run.session_id, IGNORED: ", ".join(ignored)}
    return {name: value for name, value in told.items() if value}


def streamed(run: Running, write: Write) -> Response:
    """The answer as a stream of server-sent events, which ``write`` makes of the run's."""
    headers_after_s = services().config.server.headers_after_secs
    return stream_run(run, write, content_type=sse.CONTENT_TYPE, headers_after_s=headers_after_s)


def whole(run: Running, answer: Callable[[Sequence[Event], Done], dict[str, Any]]) -> Response:
    """The answer in one piece, which ``answer`` makes of all events and their success.

    Raises ClinvkError when the run fails, or says more than is kept.
    """
    with run:
        events = _everything(run)
    done = events[-1]
    if isinstance(done, Failed):
        raise of_failure(done)
    assert isinstance(done, Done)
    return counted(jsonify(answer(events, done)), estimated=done.usage_estimated)


def counted(response: Response, *, estimated: bool) -> Response:
    """The answer, which says so when nobody has counted the tokens that it tells."""
    if estimated:
        response.headers[USAGE] = ESTIMATED
    return response


def _everything(run: Running) -> list[Event]:
    limit_bytes = services().config.server.max_output_bytes
    events: list[Event] = []
    size = 0
    for batch in run.batches():
        events += batch
        size += sum(len(event.text) for event in batch if isinstance(event, Message | Thinking))
        if size > limit_bytes:
            message = f"the answer has more than {limit_bytes >> 20} MiB of text: stream it"
            raise ClinvkError(ErrorCode.BACKEND_FAILED, message, ran=True)
    return events


def _wants_agent() -> bool:
    """Whether the CLI is to answer as the agent that it is."""
    tools = _word(TOOLS, TOOLS_WORDS) if TOOLS in request.headers else services().config.sdk.tools
    return tools == "cli" or WORKDIR in request.headers


def _word(header: str, words: Sequence[Word]) -> Word:
    """The value of a header that is one of some words, of which the first is the default."""
    value = request.headers.get(header, words[0]).strip().lower()
    for word in words:
        if word == value:
            return word
    raise ClinvkError.field(header, f"must be one of {', '.join(words)}, not {value[:40]!r}")


def _renamed(error: ClinvkError, names: Mapping[str, str]) -> ClinvkError:
    """The error with the names that a prompt's fields have in a chat API."""
    if not error.problems:
        return error
    problems = tuple(replace(one, location=names.get(one.location, one.location)) for one in error.problems)
    message = "; ".join(f"{problem.location}: {problem.message}" for problem in problems)
    return ClinvkError(error.code, message, problems=problems, retry_after_s=error.retry_after_s, ran=error.ran)
