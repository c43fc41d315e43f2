"""What is tried with each client and backend; a cell that fails raises AssertionError."""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from tests.e2e.clients.field import KEY, Field
from tests.e2e.clients.programs.serving import End, How, Question
from tests.e2e.clients.roster import ENTRIES, Backend, Entry
from tests.e2e.clients.talking import Reply, nothing
from tests.e2e.lifetimes import Witness
from tests.support import processes

Kind: TypeAlias = Literal["plain", "stream", "error", "disconnect"]
KINDS: tuple[Kind, ...] = get_args(Kind)

ANSWER = re.compile(r"fake(-cli name=[a-z]+)? turn=1 chars=(?P<chars>\d+) .*\| (?P<words>.*)", re.DOTALL)
GOOD_STOPS = {"stop", "end_turn", ""}
STREAM_DELAY_S = 0.05
STREAM_DELTAS = 10
MOMENTS = 3
SPREAD_S = 0.25
"""A stream of so many deltas comes at so many moments at least, and takes so long, however lumpy it is."""
ENDLESS = 1000
"""So many deltas take longer than any client is waited for."""
GONE_S = 2.0
"""So soon after its client nothing of a run lives."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the table."""

    entry: Entry
    backend: Backend
    kind: Kind

    def __str__(self) -> str:
        return f"{self.entry.name} - {self.backend.name} - {self.kind}"


CELLS = tuple(Cell(entry, backend, kind) for entry in ENTRIES for backend in entry.backends for kind in KINDS)


def fill(cell: Cell, field: Field) -> str:
    """Try it; what the table shows."""
    try:
        return HOW_TO_FILL[cell.kind](cell, field)
    except BaseException:
        field.drop(cell.entry)
        raise


def ask(cell: Cell, field: Field, how: How, words: str = "", key: str = KEY) -> tuple[Question, Reply]:
    """Ask the client something that nobody has asked before."""
    number = uuid.uuid4().hex
    question = Question(how, key, cell.backend.model, f"Answer as number {number}.", f"hello {number} {words}".strip())
    return question, field.client(cell.entry).ask(question, nothing)


def plain(cell: Cell, field: Field) -> str:
    """The client prints what the model said to the very question."""
    question, reply = ask(cell, field, "plain")
    end = check_answer(cell, field, question, reply, "w0 w1 w2")
    if not end.stop:
        return "printed"
    return f"{end.stop}, {end.output_tokens} tokens" if end.output_tokens else end.stop


def stream(cell: Cell, field: Field) -> str:
    """The pieces come as the model says them."""
    question, reply = ask(cell, field, "stream", f"FAKE:n={STREAM_DELTAS} FAKE:delay={STREAM_DELAY_S}")
    check_answer(cell, field, question, reply, " ".join(f"w{number}" for number in range(STREAM_DELTAS)))
    times_s = [piece.at_s for piece in reply.pieces]
    apart = {round(at_s, 2) for at_s in times_s}
    assert len(apart) >= MOMENTS, f"all in {len(apart)} moments"
    assert times_s[-1] - times_s[0] > SPREAD_S, "all at once"
    return f"{len(reply.pieces)} pieces"


def check_answer(cell: Cell, field: Field, question: Question, reply: Reply, words: str) -> End:
    """The client's text is the model's, and the model was asked its very question, with its system text."""
    assert reply.error is None, reply.error
    answer = ANSWER.fullmatch(reply.text)
    assert answer is not None, reply.text
    assert answer["words"].strip() == words
    assert reply.end is not None
    assert reply.end.stop in GOOD_STOPS, reply.end
    if field.model_server is not None and cell.backend.is_real:
        turn = field.model_server.turns()[-1]
        assert question.text in turn.prompt, turn.prompt
        assert question.system in turn.system, turn.system
        assert turn.turns == 1
        if cell.entry.tells_usage:
            assert reply.end.input_tokens > 0
            assert reply.end.output_tokens > 0
    if cell.entry.tells_request_id:
        assert re.fullmatch(r"[A-Za-z0-9._-]+", reply.end.request_id), reply.end
    return reply.end


def error(cell: Cell, field: Field) -> str:
    """A wrong key and a failure of the provider arrive as what the client raises, and say why; it asks once."""
    _, refused = ask(cell, field, "plain", key="wrong-key")
    check_error(cell, refused, 401, "key")
    how: How = "stream" if cell.backend.name == "codex" else "plain"
    runs = field.fake_runs()
    _, failed = ask(cell, field, how, cell.backend.failure)
    if field.model_server is None or not cell.backend.is_real:
        assert field.fake_runs() - runs == 1, "the client sent it again"
    shown = check_error(cell, failed, cell.backend.statuses[cell.entry.dialect], cell.backend.reason)
    assert not failed.pieces
    return shown


def check_error(cell: Cell, reply: Reply, status: int, reason: str) -> str:
    """The error has the class that belongs to the status, and tells the reason; what the table shows of it."""
    assert reply.error is not None, reply
    assert reason in reply.error.message, reply.error
    if not cell.entry.errors:
        assert not reply.error.classes
        return f"printed, {status}"
    wanted = cell.entry.errors[status]
    assert wanted in reply.error.classes, reply.error
    assert reply.error.status == cell.entry.statuses.get(status, status), reply.error
    return f"{wanted}, {reply.error.status}"


def disconnect(cell: Cell, field: Field) -> str:
    """The client leaves in the middle of a stream, and soon no process of the run lives."""
    field.server.wait_until_idle()
    witness: Witness | None = None

    def look() -> None:
        nonlocal witness
        witness = Witness(field.server.of_runs)

    number = uuid.uuid4().hex
    text = f"hello {number} FAKE:n={ENDLESS} FAKE:delay={STREAM_DELAY_S}"
    question = Question("leave", KEY, cell.backend.model, "Go on and on.", text)
    reply = field.client(cell.entry).ask(question, look)
    assert witness is not None, reply
    assert witness.seen, "no process of the run was found"
    assert f"w{ENDLESS - 1} " not in reply.text, "the client stayed to the end"
    gone_s = witness.gone_s(reply.left_s + 5 * GONE_S) - reply.left_s
    assert gone_s < GONE_S, f"{gone_s:.2f} s\n{processes.describe(witness.left())}"
    return f"{gone_s:.2f} s"


HOW_TO_FILL: Mapping[Kind, Callable[[Cell, Field], str]] = {
    "plain": plain,
    "stream": stream,
    "error": error,
    "disconnect": disconnect,
}
