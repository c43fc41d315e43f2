"""What the server is and how it is."""

from typing import Any

import marshmallow as ma
from flask import Response, jsonify
from marshmallow import fields

from blueprints.api import Blueprint
from blueprints.context import services
from services.availability import BackendStatus
from services.sessions.errors import StoreError
from services.store_access import StoreAccess

STATUS = (
    "`ok`; `degraded`: an enabled backend is missing; `unhealthy` (with HTTP status 503): no session can be recorded."
)

blueprint = Blueprint("Server", __name__, description="What it is, and how it is.")


class BackendHealthSchema(ma.Schema):
    """Whether a backend is there."""

    name = fields.String(metadata={"description": "The backend."})
    available = fields.Boolean(metadata={"description": "Whether its program can be run."})


class RunsHealthSchema(ma.Schema):
    """How busy the server is."""

    active = fields.Integer(metadata={"description": "Runs that go on."})
    queued = fields.Integer(metadata={"description": "Requests that wait for a run slot."})
    limit = fields.Integer(metadata={"description": "Run slots."})


class StoreHealthSchema(ma.Schema):
    """Whether sessions can be recorded."""

    available = fields.Boolean(metadata={"description": "Whether they can."})
    session_count = fields.Integer(metadata={"description": "How many there are."})
    error = fields.String(metadata={"description": "What is wrong with the store; absent when nothing is."})


class HealthSchema(ma.Schema):
    """How the server is."""

    status = fields.String(metadata={"description": STATUS})
    version = fields.String(metadata={"description": "The version of clinvk."})
    uptime = fields.String(metadata={"description": "How long it has been up, such as `1h2m3s`."})
    uptime_ms = fields.Integer(metadata={"description": "The same in milliseconds."})
    uptime_millis = fields.Integer(metadata={"description": "The same as `uptime_ms`."})
    backends = fields.List(fields.Nested(BackendHealthSchema))
    session_store = fields.Nested(StoreHealthSchema)
    runs = fields.Nested(RunsHealthSchema)


class IndexSchema(ma.Schema):
    """What this is."""

    name = fields.String(metadata={"description": "Always `clinvk`."})
    version = fields.String(metadata={"description": "Its version."})
    description = fields.String(metadata={"description": "What it does."})
    apis = fields.Dict(
        keys=fields.String(), values=fields.String(), metadata={"description": "Where each dialect is spoken."}
    )
    openapi = fields.String(metadata={"description": "Where this document is."})
    docs = fields.String(metadata={"description": "Where the document is a page for people."})
    health = fields.String(metadata={"description": "Where to ask how the server is."})


@blueprint.route("/")
@blueprint.response(200, IndexSchema)
def index() -> Response:
    """Say what this is."""
    return jsonify(
        name="clinvk",
        version=services().version,
        description="One HTTP server in front of the AI command lines installed here.",
        apis={"native": "/api/v1", "openai": "/openai/v1", "anthropic": "/anthropic"},
        openapi="/openapi.json",
        docs="/docs",
        health="/health",
    )


@blueprint.route("/health")
@blueprint.keyless
@blueprint.response(200, HealthSchema)
@blueprint.alt_response(503, schema=HealthSchema)
def health() -> tuple[dict[str, Any], int]:
    """Say how the server is.

    Takes the same short time whatever the server is doing.
    """
    container = services()
    backends = container.availability.statuses()
    slots = container.runs.slots
    uptime_ms = round(container.uptime_s * 1000)
    store = _session_store(container.store)
    status = "degraded" if any(map(_missing, backends)) else "ok"
    answer = {
        "status": status if store["available"] else "unhealthy",
        "version": container.version,
        "uptime": _clock(uptime_ms // 1000),
        "uptime_ms": uptime_ms,
        "uptime_millis": uptime_ms,
        "backends": backends,
        "session_store": store,
        "runs": {"active": slots.active, "queued": slots.queued, "limit": slots.limit},
    }
    return answer, 200 if store["available"] else 503


def _session_store(store: StoreAccess) -> dict[str, Any]:
    try:
        return {"available": True, "session_count": store().check()}
    except StoreError as error:
        return {"available": False, "session_count": 0, "error": error.message}


def _missing(backend: BackendStatus) -> bool:
    return backend.enabled and not backend.available


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{value}{unit}" for value, unit in parts if value) or "0s"
