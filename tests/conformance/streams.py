"""Reads server-sent events as the HTML standard frames them, and takes nothing else."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sent:
    """An event: its name, "" when it has none, and its data."""

    event: str
    data: str


def events_of(body: bytes) -> list[Sent]:
    """The events of a whole stream, without the comments.  Raises AssertionError for what is none."""
    assert body.endswith(b"\n\n")
    frames = (frame for frame in body.decode().removesuffix("\n\n").split("\n\n"))
    return [_event(frame) for frame in frames if not frame.startswith(":")]


def _event(frame: str) -> Sent:
    fields = dict(line.split(": ", 1) for line in frame.split("\n"))
    assert set(fields) <= {"event", "data"}, frame
    return Sent(fields.get("event", ""), fields["data"])
