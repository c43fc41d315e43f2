"""The routes of OpenAI's Chat Completions API."""

from functools import partial
from typing import Any

from flask import Response, jsonify

from blueprints import chat, chat_headers, sse
from blueprints.api import Blueprint
from blueprints.context import services
from blueprints.fields import DialectSchema
from blueprints.openai.answers import ChunkSchema, CompletionSchema, OpenAIModelSchema, OpenAIModelsSchema
from blueprints.openai.errors import OpenAIErrorSchema
from blueprints.openai.schemas import ChatRequest, ChatSchema
from blueprints.openai.translate import ChunkWriter, completion
from services.errors import ClinvkError, ErrorCode, Problem
from services.models import ModelEntry

blueprint = Blueprint(
    "OpenAI",
    __name__,
    url_prefix="/openai",
    description="OpenAI's Chat Completions API: a model, asked by a CLI without its tools.",
    errors=OpenAIErrorSchema,
    stream_end="[DONE]",
)

CREATED = 1_735_689_600
"""When a model was made, in Unix seconds, is not known here: one fixed moment for all."""


def _example(backend: str, *, stream: bool) -> dict[str, Any]:
    return {"model": backend, "messages": [{"role": "user", "content": "Hello!"}], "stream": stream}


@blueprint.route("")
@blueprint.response(200, DialectSchema)
def about_here() -> Response:
    """Say what is here; clients probe it with HEAD."""
    return jsonify(name="clinvk", description="OpenAI's Chat Completions API.", models="/openai/v1/models")


@blueprint.route("/v1/chat/completions", methods=["POST"])
@blueprint.arguments(
    ChatSchema, examples={"A question": partial(_example, stream=False), "A stream": partial(_example, stream=True)}
)
@blueprint.heeds(chat_headers.REQUEST)
@blueprint.response(200, CompletionSchema, headers=chat_headers.ANSWER)
@blueprint.alt_response(200, schema=ChunkSchema, content_type=sse.CONTENT_TYPE, success=True)
def chat_completions(asked: ChatRequest) -> Response:
    """Answer a conversation.

    The answer is of one piece, or with `stream` a stream of server-sent events.
    """
    run = chat.start(asked.ask)
    wanted = asked.ask.model
    if asked.stream:
        response = chat.streamed(run, ChunkWriter(run, wanted, asked.include_usage).write)
    else:
        response = chat.whole(run, lambda events, done: completion(run.model or wanted, events, done))
    response.headers.update(chat.headers(run, asked.ask, asked.names))
    return response


@blueprint.route("/v1/models")
@blueprint.response(200, OpenAIModelsSchema)
def models() -> dict[str, Any]:
    """List the models: the backends, and the models that the configuration names."""
    return {"object": "list", "data": [_described(entry) for entry in services().models.entries()]}


@blueprint.route("/v1/models/<path:model_id>")
@blueprint.response(200, OpenAIModelSchema)
def model(model_id: str) -> dict[str, Any]:
    """Look at a model."""
    entry = services().models.entry(model_id)
    if entry is None:
        message = f"there is no model {model_id[:100]!r}: GET /openai/v1/models lists them"
        raise ClinvkError(ErrorCode.UNKNOWN_MODEL, message, problems=(Problem("model", message),))
    return _described(entry)


def _described(entry: ModelEntry) -> dict[str, Any]:
    return {"id": entry.id, "object": "model", "created": CREATED, "owned_by": entry.owner}
