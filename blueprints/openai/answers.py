"""What the OpenAI routes answer, as schemas for their documentation (translate.py and routes.py write it)."""

import marshmallow as ma
from marshmallow import fields
from marshmallow.validate import OneOf

from blueprints.fields import about
from blueprints.openai.translate import FINISH_REASONS

REASONS = sorted(set(FINISH_REASONS.values()))


class PromptDetailsSchema(ma.Schema):
    """Parts of the input."""

    cached_tokens = fields.Integer(metadata=about("Read from a cache."))


class CompletionDetailsSchema(ma.Schema):
    """Parts of the output."""

    reasoning_tokens = fields.Integer(metadata=about("Used to reason."))


class CompletionUsageSchema(ma.Schema):
    """Tokens of an answer."""

    prompt_tokens = fields.Integer(metadata=about("All input."))
    completion_tokens = fields.Integer(metadata=about("All output, reasoning included."))
    total_tokens = fields.Integer(metadata=about("Both."))
    prompt_tokens_details = fields.Nested(PromptDetailsSchema)
    completion_tokens_details = fields.Nested(CompletionDetailsSchema)


class AnswerMessageSchema(ma.Schema):
    """What the model says."""

    role = fields.Constant("assistant", metadata=about("Always `assistant`."))
    content = fields.String(metadata=about("The answer."))
    refusal = fields.String(allow_none=True, metadata=about("Always null."))
    reasoning_content = fields.String(metadata=about("What it thought before, where the CLI shows it."))


class ChoiceSchema(ma.Schema):
    """An answer, of which there is one."""

    index = fields.Integer(metadata=about("0."))
    message = fields.Nested(AnswerMessageSchema)
    logprobs = fields.Raw(allow_none=True, metadata=about("Always null."))
    finish_reason = fields.String(validate=OneOf(REASONS), metadata=about("Why the answer ended."))


class CompletionSchema(ma.Schema):
    """The model's answer."""

    id = fields.String(metadata=about("A new one for each answer, `chatcmpl-…`."))
    object = fields.Constant("chat.completion", metadata=about("Always `chat.completion`."))
    created = fields.Integer(metadata=about("When, in Unix seconds."))
    model = fields.String(metadata=about("The model that answered, as the CLI names it."))
    choices = fields.List(fields.Nested(ChoiceSchema), metadata=about("One."))
    usage = fields.Nested(CompletionUsageSchema)


class ChunkChoiceSchema(ma.Schema):
    """A piece of the answer."""

    index = fields.Integer(metadata=about("0."))
    delta = fields.Nested(AnswerMessageSchema, metadata=about("What is new of it."))
    logprobs = fields.Raw(allow_none=True, metadata=about("Always null."))
    finish_reason = fields.String(
        allow_none=True, validate=OneOf(REASONS), metadata=about("Why the answer ended; null until it has.")
    )


class ChunkSchema(ma.Schema):
    """A piece of a streamed answer, the data of a server-sent event.  The last event is `[DONE]`, or an error."""

    id = fields.String(metadata=about("The same for all chunks of an answer."))
    object = fields.Constant("chat.completion.chunk", metadata=about("Always `chat.completion.chunk`."))
    created = fields.Integer(metadata=about("When the answer began, in Unix seconds."))
    model = fields.String(metadata=about("The model that answers."))
    choices = fields.List(fields.Nested(ChunkChoiceSchema), metadata=about("One; none in the chunk with the usage."))
    usage = fields.Nested(
        CompletionUsageSchema, allow_none=True, metadata=about("In the last chunk, if it was asked for.")
    )


class OpenAIModelSchema(ma.Schema):
    """A model that can be asked for."""

    id = fields.String(metadata=about("A backend, or `backend/model`."))
    object = fields.Constant("model", metadata=about("Always `model`."))
    created = fields.Integer(metadata=about("Always the same: nobody knows it."))
    owned_by = fields.String(metadata=about("Who makes it."))


class OpenAIModelsSchema(ma.Schema):
    """All models."""

    object = fields.Constant("list", metadata=about("Always `list`."))
    data = fields.List(fields.Nested(OpenAIModelSchema), metadata=about("In a fixed order."))
