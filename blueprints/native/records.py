"""The routes of the native API for what is remembered: sessions and runs."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
from flask import Response, jsonify
from marshmallow import fields
from marshmallow.validate import OneOf, Range

from blueprints.api import Blueprint
from blueprints.context import services
from blueprints.fields import about
from blueprints.native.answers import TokenUsageSchema
from blueprints.native.translate import token_usage
from blueprints.requests import owner
from services.errors import ClinvkError, ErrorCode
from services.registry import RunRecord
from services.sessions.records import Session, Status, Turn

blueprint = Blueprint(
    "Sessions and runs", __name__, url_prefix="/api/v1", description="What was said, and what is going on."
)

MOST_SESSIONS = 1000
LEAST_PREFIX = 8
"""Characters of an id that suffice to delete a session."""


class SessionsQuerySchema(ma.Schema):
    """Which sessions to list."""

    backend = fields.String(load_default="", metadata=about("Only those of this backend."))
    status = fields.String(validate=OneOf([*Status]), load_default=None, metadata=about("Only those in this state."))
    limit = fields.Integer(load_default=100, validate=Range(1, MOST_SESSIONS), metadata=about("The most to list."))
    offset = fields.Integer(load_default=0, validate=Range(0, 2**31), metadata=about("How many to pass over."))


class SessionSchema(ma.Schema):
    """A conversation."""

    id = fields.String(metadata=about("Its id; a unique prefix will do in requests."))
    backend = fields.String(metadata=about("The backend it is one of."))
    created_at = fields.String(metadata=about("When it began (RFC 3339)."))
    last_used = fields.String(metadata=about("When its last run began or ended (RFC 3339)."))
    working_dir = fields.String(metadata=about("The folder it works in."))
    model = fields.String(metadata=about("The model that answered last."))
    initial_prompt = fields.String(metadata=about("How its first prompt begins."))
    status = fields.String(
        metadata=about("`active`: in a run; `completed`: idle; `error`: idle, and its last run failed.")
    )
    turn_count = fields.Integer(metadata=about("Runs so far."))
    token_usage = fields.Nested(TokenUsageSchema, metadata=about("Of all its runs."))
    cost_usd = fields.Float(metadata=about("Of all its runs, where the CLI tells it."))
    tags = fields.List(fields.String(), metadata=about("Those of the configuration, and `api`."))
    title = fields.String(metadata=about("The first line of its first prompt."))
    metadata = fields.Dict(
        keys=fields.String(), values=fields.String(), metadata=about("The client's notes, of its first prompt.")
    )
    error_message = fields.String(metadata=about("What went wrong in its last run."))
    parent_id = fields.String(metadata=about("The session that it was copied from."))


class SessionsSchema(ma.Schema):
    """A page of sessions, the newest first."""

    sessions = fields.List(fields.Nested(SessionSchema), metadata=about("The newest first."))
    total = fields.Integer(metadata=about("How many match in all."))
    limit = fields.Integer(metadata=about("The most that are listed."))
    offset = fields.Integer(metadata=about("How many were passed over."))


class DeletedSchema(ma.Schema):
    """A session that is gone."""

    deleted = fields.Boolean(metadata=about("Always true."))
    id = fields.String(metadata=about("The whole id."))
    cli_deleted = fields.Boolean(metadata=about("Whether the CLI's own copy of the conversation is gone as well."))


class TurnSchema(ma.Schema):
    """A prompt and its answer."""

    number = fields.Integer(metadata=about("Counts all turns of the session from 1, kept or not."))
    prompt = fields.String(metadata=about("What was asked."))
    output = fields.String(metadata=about("What was answered."))
    at = fields.String(metadata=about("When it ended (RFC 3339)."))
    token_usage = fields.Nested(TokenUsageSchema, metadata=about("Of this turn."))
    error = fields.String(metadata=about("What went wrong; empty when nothing did."))


class TurnsSchema(ma.Schema):
    """The turns of a session that were kept (`session.store_turns`)."""

    turns = fields.List(fields.Nested(TurnSchema), metadata=about("In order."))


class RunSchema(ma.Schema):
    """A run that waits or goes on."""

    run_id = fields.String(metadata=about("Its id."))
    backend = fields.String(metadata=about("The backend it runs on."))
    model = fields.String(metadata=about("The model that was asked for."))
    session_id = fields.String(metadata=about("The session it continues; empty when it begins one or is ephemeral."))
    started_at = fields.String(metadata=about("When it was asked for (RFC 3339)."))
    state = fields.String(metadata=about("`queued`: waiting for a run slot; `running`."))
    queued_ms = fields.Integer(metadata=about("Milliseconds that it has waited for a run slot, so far or in all."))
    warm = fields.Boolean(
        allow_none=True, metadata=about("Whether its CLI had been started in advance; null before it has one.")
    )


class RunsSchema(ma.Schema):
    """The runs in all workers, the oldest first."""

    runs = fields.List(fields.Nested(RunSchema), metadata=about("The oldest first."))


class CanceledSchema(ma.Schema):
    """A run that is being ended."""

    canceled = fields.Boolean(metadata=about("Always true."))
    run_id = fields.String(metadata=about("The run."))


@blueprint.route("/sessions")
@blueprint.arguments(SessionsQuerySchema, location="query")
@blueprint.response(200, SessionsSchema)
def sessions(query: dict[str, Any]) -> Response:
    """List sessions."""
    status = Status(query["status"]) if query["status"] else None
    limit, offset = query["limit"], query["offset"]
    page = services().sessions.page(owner(), backend=query["backend"], status=status, limit=limit, offset=offset)
    listed = list(map(described, page.sessions))
    # not through the schema, which takes ten times as long for a page as the database
    return jsonify(sessions=listed, total=page.total, limit=limit, offset=offset)


@blueprint.route("/sessions/<session_id>")
@blueprint.response(200, SessionSchema)
def session(session_id: str) -> dict[str, Any]:
    """Look at a session."""
    return described(services().sessions.get(session_id, owner()))


@blueprint.route("/sessions/<session_id>", methods=["DELETE"])
@blueprint.response(200, DeletedSchema)
def delete_session(session_id: str) -> dict[str, Any]:
    """Remove a session and, where the CLI has a way, its own copy of the conversation.

    Takes the id or at least 8 characters of it.
    """
    if len(session_id) < LEAST_PREFIX:
        raise ClinvkError.field("session_id", f"give at least {LEAST_PREFIX} characters of the id to delete by")
    gone, forgotten = services().sessions.delete(session_id, owner())
    return {"deleted": True, "id": gone.id, "cli_deleted": forgotten}


@blueprint.route("/sessions/<session_id>/turns")
@blueprint.response(200, TurnsSchema)
def turns(session_id: str) -> dict[str, Any]:
    """Read what was said in a session, as far as it was kept."""
    return {"turns": [_turn(turn) for turn in services().sessions.turns(session_id, owner())]}


@blueprint.route("/sessions/<session_id>/fork", methods=["POST"])
@blueprint.response(201, SessionSchema)
def fork(session_id: str) -> dict[str, Any]:
    """Copy a session: the copy goes on from here, and the original is left as it is."""
    return described(services().sessions.fork(session_id, owner()))


@blueprint.route("/runs")
@blueprint.response(200, RunsSchema)
def runs() -> dict[str, Any]:
    """List the runs that wait or go on."""
    return {"runs": list(map(_run, services().registry.list(owner())))}


@blueprint.route("/runs/<run_id>")
@blueprint.response(200, RunSchema)
def run(run_id: str) -> dict[str, Any]:
    """Look at a run."""
    record = services().registry.get(run_id, owner())
    if record is None:
        raise _no_such_run(run_id)
    return _run(record)


@blueprint.route("/runs/<run_id>", methods=["DELETE"])
@blueprint.response(200, CanceledSchema)
def cancel_run(run_id: str) -> dict[str, Any]:
    """End a run, as its client's going away would; the client that waits for it is told."""
    record = services().registry.cancel(run_id, owner())
    if record is None:
        raise _no_such_run(run_id)
    return {"canceled": True, "run_id": record.run_id}


def _no_such_run(run_id: str) -> ClinvkError:
    return ClinvkError(ErrorCode.NOT_FOUND, f"there is no run {run_id[:64]!r}, or it has ended")


def described(session: Session) -> dict[str, Any]:
    """A session as clients see it."""
    costs = {} if session.cost_usd is None else {"cost_usd": session.cost_usd}
    return {
        "id": session.id,
        "backend": session.backend,
        "created_at": _moment(session.created_at),
        "last_used": _moment(session.last_used),
        "working_dir": session.working_dir,
        "model": session.model,
        "initial_prompt": session.initial_prompt,
        "status": session.status.value,
        "turn_count": session.turn_count,
        "token_usage": token_usage(session.usage),
        **costs,
        "tags": session.tags,
        "title": session.title,
        "metadata": dict(session.metadata),
        "error_message": session.error_message,
        "parent_id": session.parent_id,
    }


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "number": turn.number,
        "prompt": turn.prompt,
        "output": turn.output,
        "at": _moment(turn.at),
        "token_usage": token_usage(turn.usage),
        "error": turn.error,
    }


def _run(record: RunRecord) -> dict[str, Any]:
    shown = asdict(record)
    del shown["owner"]
    return shown | {"started_at": _moment(record.started_at)}


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
