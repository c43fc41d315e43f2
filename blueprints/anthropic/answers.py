"""What the Anthropic routes answer, as schemas for their documentation (translate.py and routes.py write it)."""

import marshmallow as ma
from marshmallow import fields
from marshmallow.validate import OneOf

from blueprints.anthropic.errors import ErrorDetailSchema
from blueprints.anthropic.translate import STOP_REASONS
from blueprints.fields import about

EVENT_TYPES = (
    "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
    "message_stop", "ping", "error",
)  # fmt: skip


class OutputTokensDetailsSchema(ma.Schema):
    """Parts of the output."""

    thinking_tokens = fields.Integer(metadata=about("Tokens of thoughts."))


class MessageUsageSchema(ma.Schema):
    """Tokens of a message."""

    input_tokens = fields.Integer(metadata=about("Input that was neither read from a cache nor written to one."))
    cache_creation_input_tokens = fields.Integer(metadata=about("Input that was written to a cache."))
    cache_read_input_tokens = fields.Integer(metadata=about("Input that was read from a cache."))
    output_tokens = fields.Integer(metadata=about("All output."))
    output_tokens_details = fields.Nested(OutputTokensDetailsSchema, metadata=about("Where the CLI tells it."))


class ContentBlockSchema(ma.Schema):
    """A part of the answer."""

    type = fields.String(
        validate=OneOf(("text", "thinking")), metadata=about("`thinking` only where it was asked for.")
    )
    text = fields.String(metadata=about("With `text`: what the model says."))
    thinking = fields.String(metadata=about("With `thinking`: what it thought."))
    signature = fields.String(metadata=about("With `thinking`: empty, as no CLI passes it on."))


class MessageAnswerSchema(ma.Schema):
    """The model's answer."""

    id = fields.String(metadata=about("A new one for each answer, `msg_…`."))
    type = fields.Constant("message", metadata=about("Always `message`."))
    role = fields.Constant("assistant", metadata=about("Always `assistant`."))
    model = fields.String(metadata=about("The model that answered, as the CLI names it."))
    content = fields.List(fields.Nested(ContentBlockSchema), metadata=about("The answer; empty when nothing was said."))
    stop_reason = fields.String(
        validate=OneOf(sorted(set(STOP_REASONS.values()))),
        allow_none=True,
        metadata=about("Why the answer ended; null only with `message_start`."),
    )
    stop_sequence = fields.String(allow_none=True, metadata=about("The stop sequence that ended it."))
    usage = fields.Nested(MessageUsageSchema)


class StreamEventSchema(ma.Schema):
    """One server-sent event of a stream; what else is in it depends on its type, as in Anthropic's documentation."""

    type = fields.String(validate=OneOf(EVENT_TYPES), metadata=about("The same as the event's name."))
    index = fields.Integer(metadata=about("The content block that a `content_block_…` belongs to, from 0."))
    message = fields.Nested(MessageAnswerSchema, metadata=about("With `message_start`: an answer without content."))
    content_block = fields.Nested(ContentBlockSchema, metadata=about("With `content_block_start`."))
    delta = fields.Dict(metadata=about("A piece of a block; with `message_delta`, why the answer ended."))
    usage = fields.Nested(MessageUsageSchema, metadata=about("With `message_delta`."))
    error = fields.Nested(ErrorDetailSchema, metadata=about("With `error`, which is then the last event."))
    request_id = fields.String(metadata=about("With `error`."))


class TokenCountSchema(ma.Schema):
    """How much a conversation is, roughly."""

    input_tokens = fields.Integer(metadata=about("An estimate: no CLI counts in advance."))


class ModelSchema(ma.Schema):
    """A model that can be asked for."""

    id = fields.String(metadata=about("A backend, or `backend/model`."))
    type = fields.Constant("model", metadata=about("Always `model`."))
    display_name = fields.String(metadata=about("A name for people."))
    created_at = fields.String(metadata=about("Always the same: nobody knows it."))
    lifecycle = fields.Constant("active", metadata=about("Always `active`."))


class ModelsSchema(ma.Schema):
    """A page of models."""

    data = fields.List(fields.Nested(ModelSchema), metadata=about("In a fixed order."))
    has_more = fields.Boolean(metadata=about("Whether there are more in the direction that was asked for."))
    first_id = fields.String(allow_none=True, metadata=about("The first of this page, for `before_id`."))
    last_id = fields.String(allow_none=True, metadata=about("The last of this page, for `after_id`."))
