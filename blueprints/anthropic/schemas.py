"""What the Anthropic routes take.  https://platform.claude.com/docs/en/api/messages

Unknown fields are ignored, as SDKs add some with each version.  What would change the answer and cannot be done is
refused by name; what only advises and does nothing here is named in the header ``X-Clinvk-Ignored``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import marshmallow as ma
import orjson
from marshmallow import ValidationError, fields, post_load, validates_schema
from marshmallow.validate import Length, OneOf, Range

from blueprints.anthropic.content import Content, Texts
from blueprints.chat import Ask
from blueprints.chat_fields import (
    MOST_STOP_CHARS,
    NO_TOOLS,
    Lenient,
    conversation,
    model_name,
    offered_tools,
    streams,
)
from blueprints.fields import LARGEST_NUMBER, Many, Number, about
from services.chat import PARAGRAPH, ChatMessage, Sampling

MOST_STOPS = 64
MOST_MODELS = 1000
LEAST_THINKING_TOKENS = 1024
EFFORTS = ("low", "medium", "high", "xhigh", "max")
USUAL_EFFORT = "high"
"""Anthropic's own, when a model is to think and nobody says how much."""
THINKS = ("enabled", "adaptive")

ADVICE = (
    "cache_control", "container", "context_management", "diagnostics", "inference_geo", "metadata", "service_tier",
    "speed", "user_profile_id",
)  # fmt: skip
"""Fields of a request that do nothing here."""

NO_SCHEMA = "Structured output is not supported yet: ask for JSON in the system prompt."
NO_PREFILL = "Must be the user's: an answer whose beginning is given (prefill) is not supported."


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """What to ask, and how to answer.

    ``names`` says what the request calls that which :class:`~services.chat.Sampling` calls otherwise.
    """

    ask: Ask
    stream: bool
    shows_thinking: bool
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CountRequest:
    """Texts whose tokens are to be counted."""

    texts: tuple[str, ...]


def _require_visible(stop: str) -> None:
    if not stop.strip():
        raise ValidationError("Must contain something other than whitespace.")


class MessageParamSchema(Lenient):
    """A message of the conversation."""

    role = fields.String(
        required=True,
        validate=OneOf(("user", "assistant", "system")),
        metadata=about("Who says it; what `system` says is added to the system prompt."),
    )
    content = Content("What is said: a text, or text blocks.", required=True)


class ThinkingSchema(Lenient):
    """Whether the model thinks before it answers."""

    type = fields.String(
        required=True,
        validate=OneOf(("enabled", "disabled", "adaptive", "between_tools")),
        metadata=about("`adaptive` leaves it to the model."),
    )
    budget_tokens = fields.Integer(
        strict=True,
        load_default=None,
        validate=Range(LEAST_THINKING_TOKENS, LARGEST_NUMBER),
        metadata=about("The most tokens to think with, less than `max_tokens`; with `enabled` only."),
    )
    display = fields.String(
        load_default=None, allow_none=True, metadata=about("`omitted` leaves the thoughts out of the answer.")
    )


class OutputConfigSchema(Lenient):
    """How the model is to answer."""

    effort = fields.String(
        load_default=None, allow_none=True, validate=OneOf(EFFORTS), metadata=about("How much effort to put in.")
    )
    format = fields.Raw(load_default=None, metadata=about("Not supported yet."))


class ConversationSchema(Lenient):
    """What the model is told."""

    model = model_name()
    messages = conversation(MessageParamSchema)
    system = Texts("The system prompt: a text, or text blocks.", load_default=list, allow_none=True)
    tools = offered_tools()

    def system_text(self, data: Mapping[str, Any]) -> str:
        """All system texts, in their order."""
        said = (text for message in data["messages"] if message["role"] == "system" for text in message["content"])
        return PARAGRAPH.join(filter(None, (*(data["system"] or ()), *said)))


class MessagesSchema(ConversationSchema):
    """A conversation to be answered."""

    max_tokens = fields.Integer(
        strict=True, required=True, validate=Range(1, LARGEST_NUMBER), metadata=about("The most tokens to answer with.")
    )
    stream = streams()
    stop_sequences = Many(
        fields.String(validate=[Length(max=MOST_STOP_CHARS), _require_visible]),
        most=MOST_STOPS,
        load_default=list,
        allow_none=True,
        metadata=about("The answer ends before the first of them."),
    )
    temperature = Number(
        load_default=None, allow_none=True, validate=Range(0, 1), metadata=about("How much chance there is.")
    )
    top_p = Number(
        load_default=None, allow_none=True, validate=Range(0, 1), metadata=about("Of which part of the likely tokens.")
    )
    top_k = fields.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=Range(0, LARGEST_NUMBER),
        metadata=about("Of how many likely tokens."),
    )
    thinking = fields.Nested(
        ThinkingSchema, load_default=None, allow_none=True, metadata=about("Whether and how the model thinks.")
    )
    output_config = fields.Nested(
        OutputConfigSchema, load_default=None, allow_none=True, metadata=about("How the model is to answer.")
    )
    output_format = fields.Raw(load_default=None, metadata=about("Not supported yet."))
    mcp_servers = fields.Raw(load_default=None, metadata=about("Not supported."))
    tool_choice = fields.Dict(load_default=None, allow_none=True, metadata=about("`none`, as there are no tools."))
    metadata = fields.Dict(load_default=None, allow_none=True, metadata=about("Does nothing."))

    @validates_schema
    def check_turns(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a conversation that the user does not begin and end."""
        turns = [(i, m["role"]) for i, m in enumerate(data["messages"]) if m["role"] != "system" and m["content"]]
        if not turns:
            raise ValidationError("Must have a message of the user's.", "messages")
        (first, opener), (last, closer) = turns[0], turns[-1]
        if opener != "user":
            raise ValidationError({"messages": {first: {"role": ["The first message must be the user's."]}}})
        if closer != "user":
            raise ValidationError({"messages": {last: {"role": [NO_PREFILL]}}})

    @validates_schema
    def check_tools(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse what could not be done."""
        choice = (data["tool_choice"] or {}).get("type")
        wrong = {"mcp_servers": ["Not supported."]} if data["mcp_servers"] else {}
        if data["tools"] and choice != "none":
            wrong["tools"] = [NO_TOOLS]
        elif choice in ("any", "tool"):
            wrong["tool_choice"] = [NO_TOOLS]
        if data["output_format"] is not None:
            wrong["output_format"] = [NO_SCHEMA]
        if (data["output_config"] or {}).get("format") is not None:
            raise ValidationError({**wrong, "output_config": {"format": [NO_SCHEMA]}})
        if wrong:
            raise ValidationError(wrong)

    @validates_schema
    def check_thinking(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a way of thinking that Anthropic would not take either."""
        thinking = data["thinking"]
        if thinking is None or thinking["type"] not in THINKS:
            return
        if thinking["type"] == "enabled":
            budget = thinking["budget_tokens"]
            if budget is None:
                raise ValidationError({"thinking": {"budget_tokens": ["Missing data for required field."]}})
            if budget >= data["max_tokens"]:
                raise ValidationError({"thinking": {"budget_tokens": ["Must be less than max_tokens."]}})
        if data["temperature"] not in (None, 1):
            raise ValidationError("May only be 1 when the model thinks.", "temperature")

    @post_load(pass_original=True)
    def make(self, data: dict[str, Any], original: Mapping[str, Any], **_: Any) -> MessagesRequest:
        """Load into a MessagesRequest."""
        ignored = [name for name in ADVICE if original.get(name) is not None]
        if data["tools"]:
            ignored.append("tools")
        thinking = data["thinking"] or {"type": "", "display": None}
        effort = (data["output_config"] or {}).get("effort") or ""
        ask = Ask(
            model=data["model"],
            system=self.system_text(data),
            messages=_spoken(data["messages"]),
            location=f"messages[{_last_spoken(data['messages'])}].content",
            max_tokens=data["max_tokens"],
            sampling=_sampling(data, thinking, effort),
            stop=tuple(data["stop_sequences"] or ()),
            ignored=tuple(ignored),
        )
        return MessagesRequest(
            ask,
            bool(data["stream"]),
            shows_thinking=thinking["type"] in THINKS and thinking["display"] != "omitted",
            names={"thinking_tokens": "thinking", "effort": "output_config.effort" if effort else "thinking"},
        )


class CountTokensSchema(ConversationSchema):
    """A conversation to be counted."""

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> CountRequest:
        """Load into a CountRequest."""
        tools = [orjson.dumps(tool).decode() for tool in data["tools"] or ()]
        spoken = [message.text for message in _spoken(data["messages"])]
        return CountRequest(tuple(filter(None, (self.system_text(data), *spoken, *tools))))


class ModelsQuerySchema(ma.Schema):
    """Which models to list."""

    limit = fields.Integer(load_default=20, validate=Range(1, MOST_MODELS), metadata=about("The most to list."))
    after_id = fields.String(load_default="", metadata=about("Only those after this one."))
    before_id = fields.String(load_default="", metadata=about("Only those before this one, the last of them."))


def _spoken(messages: Sequence[Mapping[str, Any]]) -> tuple[ChatMessage, ...]:
    """What user and model said, without messages of which nothing is left."""
    return tuple(
        ChatMessage(message["role"], PARAGRAPH.join(message["content"]))
        for message in messages
        if message["role"] != "system" and message["content"]
    )


def _last_spoken(messages: Sequence[Mapping[str, Any]]) -> int:
    return max(i for i, message in enumerate(messages) if message["role"] != "system" and message["content"])


def _sampling(data: Mapping[str, Any], thinking: Mapping[str, Any], effort: str) -> Sampling:
    """How to sample; whether to think is left to the backend where the client says nothing about it."""
    thinking_tokens: int | None = None
    match thinking["type"]:
        case "enabled":
            thinking_tokens = thinking["budget_tokens"]
        case "adaptive":
            effort = effort or USUAL_EFFORT
        case "disabled" | "between_tools":
            thinking_tokens = 0
    return Sampling(
        temperature=None if thinking["type"] in THINKS else data["temperature"],  # 1, as when nobody says anything
        top_p=data["top_p"],
        top_k=data["top_k"],
        effort=effort,
        thinking_tokens=thinking_tokens,
    )
