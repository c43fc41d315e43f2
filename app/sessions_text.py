"""Sessions as a person likes to read them in a terminal, and as JSON.

What clients and models wrote is shown without its control characters, which could do anything to a terminal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import count
from typing import Any

from services.sessions.records import Session, Turn

SHORTEST_ID = 8
HEADINGS = ("ID", "BACKEND", "STATUS", "AGE", "USED", "TURNS", "COST", "TITLE")
NUMBERS = {"AGE", "USED", "TURNS", "COST"}
LEAST_TITLE = 20
CENT = 0.01
AGES = ((365 * 86_400, "y"), (86_400, "d"), (3_600, "h"), (60, "m"), (0, "s"))


def table(sessions: Sequence[Session], now_s: float, width: int | None) -> Iterator[str]:
    """One line a session, and one for the headings; titles are cut to a width in characters if one is given."""
    ids = short_ids([session.id for session in sessions])
    rows = [HEADINGS, *(_row(session, short, now_s) for session, short in zip(sessions, ids, strict=True))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = max(LEAST_TITLE, width - sum(widths[:-1]) - 2 * (len(widths) - 1)) if width else None
    for *cells, title in rows:
        padded = [
            cell.rjust(size) if heading in NUMBERS else cell.ljust(size)
            for heading, cell, size in zip(HEADINGS, cells, widths, strict=False)
        ]
        yield "  ".join([*padded, _cut(title, room)]).rstrip()


def short_ids(ids: Sequence[str]) -> list[str]:
    """The ids as short as they can be told apart by, but not shorter than what deletes a session."""
    length = next(length for length in count(SHORTEST_ID) if len({name[:length] for name in ids}) == len(set(ids)))
    return [name[:length] for name in ids]


def details(session: Session, now_s: float) -> Iterator[str]:
    """All that is known of a session: a line for each thing that there is to say."""
    usage = session.usage
    told = {
        "id": session.id,
        "title": session.title,
        "backend": session.backend,
        "model": session.model,
        "status": f"{session.status} (the CLI no longer knows it)" if session.expired else session.status.value,
        "error": session.error_message,
        "begun": _moment(session.created_at, now_s),
        "used": _moment(session.last_used, now_s),
        "turns": str(session.turn_count),
        "tokens": f"{usage.input_tokens} in ({usage.cached_tokens} cached), "
        f"{usage.output_tokens} out ({usage.reasoning_tokens} reasoning)",
        "cost": "" if session.cost_usd is None else cost(session.cost_usd),
        "folder": f"{session.working_dir} (its own)" if session.private_folder else session.working_dir,
        "tags": ", ".join(session.tags),
        "metadata": ", ".join(f"{name}={value}" for name, value in session.metadata.items()),
        "copy of": session.parent_id,
        "CLI's id": session.cli_session_id,
        "run": session.run_id,
        "key": session.owner,
        "prompt": session.initial_prompt,
    }
    size = max(map(len, told))
    return (f"{name.ljust(size)}  {plain(text)}" for name, text in told.items() if text)


def transcript(turn: Turn) -> str:
    """What was said in a turn, with its line breaks."""
    at = datetime.fromtimestamp(turn.at).astimezone().strftime("%Y-%m-%d %H:%M")
    said = [f"\n── {turn.number} ── {at}", *(f"> {plain(line)}" for line in turn.prompt.splitlines()), ""]
    said += map(plain, turn.output.splitlines())
    return "\n".join([*said, f"[failed: {plain(turn.error)}]"] if turn.error else said)


def as_json(record: Session | Turn) -> dict[str, Any]:
    """The fields under the names that they have over HTTP, times as RFC 3339; a session has some more here."""
    told = asdict(record)
    told["token_usage"] = told.pop("usage")
    for name in told.keys() & {"created_at", "last_used", "at"}:
        told[name] = datetime.fromtimestamp(told[name], UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return told


def age(seconds: float) -> str:
    """How long that is, in the largest unit: ``5m``, ``3d``; what lies ahead (another clock's time) is ``0s``."""
    seconds = max(0.0, seconds)
    unit_s, name = next((unit, name) for unit, name in AGES if seconds >= unit)
    return f"{int(seconds // (unit_s or 1))}{name}"


def cost(usd: float) -> str:
    """The money, in cents."""
    return f"<${CENT}" if 0 < usd < CENT else f"${usd:.2f}"


def plain(text: str) -> str:
    """The text in one line, without what a terminal would obey."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text)


def _row(session: Session, short_id: str, now_s: float) -> tuple[str, ...]:
    return (
        short_id,
        plain(session.backend),
        session.status.value,
        age(now_s - session.created_at),
        age(now_s - session.last_used),
        str(session.turn_count),
        "-" if session.cost_usd is None else cost(session.cost_usd),
        plain(session.title or session.initial_prompt),
    )


def _cut(text: str, room: int | None) -> str:
    return text if room is None or len(text) <= room else text[: room - 1] + "…"


def _moment(unix_s: float, now_s: float) -> str:
    at = datetime.fromtimestamp(unix_s).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S} ({age(now_s - unix_s)} ago)"
