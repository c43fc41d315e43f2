"""The routes of Anthropic's Messages API.

They are there under three prefixes: the official SDKs append ``/v1/messages`` to their base URL, and the documented one
already ends in ``/v1``.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import marshmallow as ma
from flask import Response, jsonify

from blueprints import chat, chat_headers, sse
from blueprints.anthropic.answers import (
    MessageAnswerSchema,
    ModelSchema,
    ModelsSchema,
    StreamEventSchema,
    TokenCountSchema,
)
from blueprints.anthropic.errors import AnthropicErrorSchema, with_request_id
from blueprints.anthropic.models import described, page
from blueprints.anthropic.schemas import (
    CountRequest,
    CountTokensSchema,
    MessagesRequest,
    MessagesSchema,
    ModelsQuerySchema,
)
from blueprints.anthropic.translate import StreamWriter, content, message, message_id
from blueprints.api import Blueprint
from blueprints.context import services
from blueprints.fields import DialectSchema
from services.errors import ClinvkError, ErrorCode
from services.estimate import tokens_of_messages
from services.events import Done, Event
from services.running import Running
from services.tracing import request_id

blueprint = Blueprint(
    "Anthropic",
    __name__,
    url_prefix="/anthropic/v1",
    description="Anthropic's Messages API, at three addresses, as clients make theirs of a base URL in different ways.",
    errors=AnthropicErrorSchema,
)
blueprint.after_request(with_request_id)

ALIASES = ("/anthropic/v1/v1", "/anthropic")
DEFAULT_BACKEND = "claude"


def _question(backend: str) -> dict[str, Any]:
    return {"model": backend, "messages": [{"role": "user", "content": "Hello!"}]}


def _example(backend: str, *, stream: bool) -> dict[str, Any]:
    return _question(backend) | {"max_tokens": 1024, "stream": stream}


@blueprint.route("")
@blueprint.response(200, DialectSchema)
def about_here() -> Response:
    """Say what is here; clients probe it with HEAD."""
    return jsonify(name="clinvk", description="Anthropic's Messages API.", models="/anthropic/v1/models")


@blueprint.route("/messages", methods=["POST"])
@blueprint.arguments(
    MessagesSchema, examples={"A question": partial(_example, stream=False), "A stream": partial(_example, stream=True)}
)
@blueprint.heeds(chat_headers.REQUEST)
@blueprint.response(200, MessageAnswerSchema, headers=chat_headers.ANSWER)
@blueprint.alt_response(200, schema=StreamEventSchema, content_type=sse.CONTENT_TYPE, success=True)
def messages(asked: MessagesRequest) -> Response:
    """Answer a conversation.

    The answer is of one piece, or with `stream` a stream of server-sent events.
    """
    run = chat.start(asked.ask, DEFAULT_BACKEND)
    response = _streamed(run, asked) if asked.stream else _whole(run, asked)
    response.headers.update(chat.headers(run, asked.ask, asked.names))
    return response


@blueprint.route("/messages/count_tokens", methods=["POST"])
@blueprint.arguments(CountTokensSchema, examples={"A question": _question})
@blueprint.response(200, TokenCountSchema, headers=chat_headers.ESTIMATE)
def count_tokens(asked: CountRequest) -> Response:
    """Estimate the tokens of a conversation.

    No CLI counts in advance, and the header `X-Clinvk-Usage` says so.
    """
    return chat.counted(jsonify(input_tokens=tokens_of_messages(asked.texts)), estimated=True)


@blueprint.route("/models")
@blueprint.arguments(ModelsQuerySchema, location="query", unknown=ma.EXCLUDE)
@blueprint.response(200, ModelsSchema)
def models(query: dict[str, Any]) -> Response:
    """List the models: the backends, and the models that the configuration names."""
    return jsonify(page(services().models.entries(), **query))


@blueprint.route("/models/<path:model_id>")
@blueprint.response(200, ModelSchema)
def model(model_id: str) -> Response:
    """Look at a model."""
    entry = services().models.entry(model_id)
    if entry is None:
        raise ClinvkError(
            ErrorCode.NOT_FOUND, f"there is no model {model_id[:100]!r}: GET /anthropic/v1/models lists them"
        )
    return jsonify(described(entry))


def _streamed(run: Running, asked: MessagesRequest) -> Response:
    input_tokens = chat.input_tokens(asked.ask)
    writer = StreamWriter(run, asked.ask.model, input_tokens, request_id.get(), asked.shows_thinking)
    return chat.streamed(run, writer.write)


def _whole(run: Running, asked: MessagesRequest) -> Response:
    def answer(events: Sequence[Event], done: Done) -> dict[str, Any]:
        said = content(events, shows_thinking=asked.shows_thinking)
        return message(message_id(), run.model or asked.ask.model, said, done)

    return chat.whole(run, answer)
