"""The tables as queries see them, and the way between rows and records.  They are made by the migrations."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, Column, Dialect, Float, Integer, MetaData, Row, Table, Text, TypeDecorator

from services.events import TokenUsage
from services.sessions.records import Session, Status, Turn

LARGEST = 2**63 - 1
PROMPT_CHARS = 1_000
ERROR_CHARS = 8_000


class AnyText(TypeDecorator[str]):
    """Text that a database takes: what is no Unicode text, and the NUL that PostgreSQL refuses, is replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """The text as it is stored."""
        if value is None:
            return None
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _usage_columns() -> list[Column[Any]]:
    return [Column(name, BigInteger, nullable=False) for name in USAGE]


USAGE = tuple(field.name for field in fields(TokenUsage))

metadata = MetaData()

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("backend", AnyText, nullable=False),
    Column("owner", AnyText, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("last_used", Float, nullable=False),
    Column("status", AnyText, nullable=False),
    Column("cli_session_id", AnyText, nullable=False),
    Column("working_dir", AnyText, nullable=False),
    Column("private_folder", Boolean, nullable=False),
    Column("model", AnyText, nullable=False),
    Column("initial_prompt", AnyText, nullable=False),
    Column("error_message", AnyText, nullable=False),
    Column("turn_count", Integer, nullable=False),
    *_usage_columns(),
    Column("cost_usd", Float),
    Column("tags", AnyText, nullable=False),
    Column("title", AnyText, nullable=False),
    Column("metadata", AnyText, nullable=False),
    Column("parent_id", AnyText, nullable=False),
    Column("expired", Boolean, nullable=False),
    Column("run_id", AnyText, nullable=False),
    Column("worker", AnyText, nullable=False),
)

session_counts = Table(
    "session_counts",
    metadata,
    Column("owner", AnyText, primary_key=True),
    Column("backend", AnyText, primary_key=True),
    Column("status", AnyText, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

turns = Table(
    "turns",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("prompt", AnyText, nullable=False),
    Column("output", AnyText, nullable=False),
    Column("at", Float, nullable=False),
    *_usage_columns(),
    Column("error", AnyText, nullable=False),
)


_FIELDS = tuple(field.name for field in fields(Session))
_STATUS, _TAGS, _METADATA = (_FIELDS.index(name) for name in ("status", "tags", "metadata"))
_USAGE = slice(_FIELDS.index("usage"), _FIELDS.index("usage") + len(USAGE))
_TURN_COLUMNS = tuple(turns.c.keys())


def usage_row(usage: TokenUsage) -> dict[str, int]:
    """The columns of a usage; what a CLI reports is not trusted to fit in them."""
    return {name: max(0, min(getattr(usage, name), LARGEST)) for name in USAGE}


def session_row(session: Session) -> dict[str, Any]:
    """The row of a session."""
    return column_values({name: getattr(session, name) for name in _FIELDS})


def column_values(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The columns for some fields of a session."""
    values = dict(changes)
    if "usage" in values:
        values |= usage_row(values.pop("usage"))
    if "tags" in values:
        values["tags"] = json.dumps(values["tags"], ensure_ascii=False)
    if "metadata" in values:
        values["metadata"] = json.dumps(dict(values["metadata"]), ensure_ascii=False)
    return values


def session_of(row: Row[Any]) -> Session:
    """The session of a row, whose columns are in the order of the fields."""
    values = list(row)
    values[_USAGE] = [TokenUsage(*values[_USAGE])]
    values[_STATUS] = Status(values[_STATUS])
    values[_TAGS] = tuple(orjson.loads(values[_TAGS]))
    values[_METADATA] = orjson.loads(values[_METADATA])
    return Session(*values)


def turn_of(row: Row[Any]) -> Turn:
    """The turn of a row."""
    values = dict(zip(_TURN_COLUMNS, row, strict=True))
    del values["session_id"]
    usage = TokenUsage(*[values.pop(name) for name in USAGE])
    return Turn(**values, usage=usage)
