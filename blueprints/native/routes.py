"""The routes of the native API."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import marshmallow as ma
from flask import Response, jsonify, request

from blueprints import sse
from blueprints.api import Blueprint, View
from blueprints.api_document import Example
from blueprints.context import services
from blueprints.errors import of_failure
from blueprints.native.answers import (
    AnswerSchema,
    BackendsSchema,
    ChainAnswerSchema,
    CompareAnswerSchema,
    EventSchema,
    ParallelAnswerSchema,
)
from blueprints.native.schemas import ChainSchema, CompareSchema, ParallelSchema, PromptSchema
from blueprints.native.translate import NDJSON, EventWriter, answer, together
from blueprints.requests import client_fd, owner
from blueprints.streaming import stream, stream_run
from services.deadline import Deadline
from services.ensemble import Caller, Ensemble
from services.events import Failed
from services.orchestration import Chain, Compare, Parallel
from services.prompts import Prompt
from services.running import Running

blueprint = Blueprint(
    "Prompts", __name__, url_prefix="/api/v1", description="The native API: agents, with all that each CLI can do."
)
STREAM = "stream-json"


@blueprint.route("/prompt", methods=["POST"])
@blueprint.arguments(
    PromptSchema,
    examples={
        "A prompt": lambda backend: {"backend": backend, "prompt": "Hello!"},
        "A stream": lambda backend: {"backend": backend, "prompt": "Hello!", "output_format": "stream-json"},
        "Without a session": lambda backend: {"backend": backend, "prompt": "Hello!", "ephemeral": True},
    },
)
@blueprint.response(200, AnswerSchema, description="The run's answer, also when it failed.")
@blueprint.alt_response(200, schema=EventSchema, content_type=NDJSON, success=True)
@blueprint.alt_response(200, schema=EventSchema, content_type=sse.CONTENT_TYPE, success=True)
@blueprint.alt_response(200, schema={"type": "string"}, content_type="text/plain", success=True)
def prompt(prompt: Prompt) -> Response:
    """Run a prompt.

    Answers 200 whenever the CLI has run: `exit_code`, `error` and `error_code` say how that went.  With
    `Accept: text/plain` the answer is the bare output, and a failure has its HTTP status.
    """
    caller = _caller()
    run = services().sessions.start(
        replace(prompt, owner=owner()), client_fd=caller.client_fd, deadline=caller.deadline
    )
    if prompt.output_format == STREAM:
        writer = EventWriter(_stream_type())
        headers_after_s = services().config.server.headers_after_secs
        write = partial(writer.write, run)
        return stream_run(run, write, content_type=writer.content_type, headers_after_s=headers_after_s)
    return _whole(run)


def several(rule: str, takes: type[ma.Schema], answers: type[ma.Schema], example: Example) -> Callable[[View], View]:
    """A route that runs several prompts, and answers whole or with their events."""
    examples: dict[str, Example] = {
        "An example": example,
        "The same as a stream": lambda backend: example(backend) | {"output_format": STREAM},
    }

    def decorate(view: View) -> View:
        for content_type in (sse.CONTENT_TYPE, NDJSON):
            view = blueprint.alt_response(200, schema=EventSchema, content_type=content_type, success=True)(view)
        return blueprint.route(rule, methods=["POST"])(
            blueprint.arguments(takes, examples=examples)(blueprint.response(200, answers)(view))
        )

    return decorate


def _tasks(backend: str) -> dict[str, Any]:
    return {"tasks": [{"backend": backend, "prompt": prompt} for prompt in ("What is a mutex?", "What is a lock?")]}


def _steps(backend: str) -> dict[str, Any]:
    first = {"name": "write", "backend": backend, "prompt": "Write a limerick."}
    return {"steps": [first, {"name": "translate", "backend": backend, "prompt": "In French: {{previous}}"}]}


def _comparison(backend: str) -> dict[str, Any]:
    return {"backends": [backend], "prompt": "What is a mutex?"}


@several("/parallel", ParallelSchema, ParallelAnswerSchema, _tasks)
def parallel(parallel: Parallel) -> Response:
    """Run several prompts at once."""
    return _all_of(parallel, services().orchestrator.parallel(parallel, _caller()))


@several("/chain", ChainSchema, ChainAnswerSchema, _steps)
def chain(chain: Chain) -> Response:
    """Run prompts one after the other, each of which may use what the one before said."""
    return _all_of(chain, services().orchestrator.chain(chain, _caller()))


@several("/compare", CompareSchema, CompareAnswerSchema, _comparison)
def compare(compare: Compare) -> Response:
    """Ask several backends the same."""
    return _all_of(compare, services().orchestrator.compare(compare, _caller()))


@blueprint.route("/backends")
@blueprint.response(200, BackendsSchema)
def backends() -> dict[str, Any]:
    """List the backends."""
    return {"backends": services().availability.statuses()}


def _whole(run: Running) -> Response:
    """The answer once the run has ended: bare if the client accepts nothing better, else JSON."""
    with run:
        result = run.collect()
    if request.accept_mimetypes.best_match(["application/json", "text/plain"]) == "text/plain":
        if isinstance(result.outcome, Failed):
            raise of_failure(result.outcome)
        response = Response(result.output, content_type="text/plain; charset=utf-8")
    else:
        response = jsonify(answer(run, result))
    if run.run_id:
        response.headers["X-Clinvk-Run"] = run.run_id
    if isinstance(result.outcome, Failed):
        response.headers["X-Should-Retry"] = "false"
    return response


def _all_of(asked: Parallel | Chain | Compare, ensemble: Ensemble) -> Response:
    """The answer of several runs, whole or as they go."""
    if asked.output_format != STREAM:
        ensemble.finish()
        return jsonify(together(asked, ensemble))
    writer = EventWriter(_stream_type())

    def chunks() -> Iterator[bytes]:
        for part in ensemble.parts():
            yield writer.write_part(part)
        yield writer.write_end(together(asked, ensemble))

    return stream(chunks(), content_type=writer.content_type, close=ensemble.close)


def _caller() -> Caller:
    return Caller(client_fd(), Deadline.after(services().config.server.request_timeout_secs), owner())


def _stream_type() -> str:
    return request.accept_mimetypes.best_match([NDJSON, sse.CONTENT_TYPE]) or NDJSON
