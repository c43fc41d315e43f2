"""What the OpenAI routes take.  https://platform.openai.com/docs/api-reference/chat/create

Unknown fields are ignored, as SDKs add some with each version.  What would change the answer and cannot be done is
refused by name; what only advises and does nothing here is named in the header ``X-Clinvk-Ignored``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marshmallow import ValidationError, fields, post_load, validates_schema
from marshmallow.validate import OneOf, Range

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
from blueprints.fields import LARGEST_NUMBER, Flag, Many, Number, about
from blueprints.openai.content import Content, said
from services.chat import PARAGRAPH, ChatMessage, Sampling

MOST_MODALITIES = 10
MOST_STOPS = 4
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
SYSTEM = ("system", "developer")
OF_TOOLS = ("tool", "function")

ADVICE = (
    "frequency_penalty", "logit_bias", "metadata", "moderation", "parallel_tool_calls", "prediction",
    "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier",
    "seed", "service_tier", "store", "user", "verbosity",
)  # fmt: skip
"""Fields of a request that do nothing here."""
NAMES = {"effort": "reasoning_effort", "thinking_tokens": "reasoning_effort"}
"""What the request calls that which :class:`~services.chat.Sampling` calls otherwise."""

NO_SCHEMA = "Only text is supported yet: ask for JSON in a system message."
NO_AUDIO = "Answers that were spoken are not supported: send their text."
NO_PREFILL = "The last message must not be the assistant's: an answer whose beginning is given is not supported."


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What to ask, and how to answer; ``names`` is what the request calls that which ``ask`` calls otherwise."""

    ask: Ask
    stream: bool
    include_usage: bool
    names: Mapping[str, str]


class ChatMessageSchema(Lenient):
    """A message of the conversation."""

    role = fields.String(
        required=True,
        validate=OneOf((*SYSTEM, "user", "assistant", *OF_TOOLS)),
        metadata=about("Who says it; what `system` and `developer` say becomes the system prompt."),
    )
    content = Content("What is said: a text, or text parts; null only of the assistant's.", load_default=None)
    tool_calls = fields.Raw(load_default=None, allow_none=True, metadata=about(NO_TOOLS))
    function_call = fields.Raw(load_default=None, allow_none=True, metadata=about(NO_TOOLS))
    audio = fields.Raw(load_default=None, allow_none=True, metadata=about(NO_AUDIO))
    name = fields.Raw(load_default=None, allow_none=True, metadata=about("Does nothing."))

    @validates_schema
    def check(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse what the model could not be told."""
        if data["role"] in OF_TOOLS:
            raise ValidationError(f"Messages of a {data['role']} are not supported yet.", "role")
        for name in ("tool_calls", "function_call"):
            if data[name]:
                raise ValidationError(NO_TOOLS, name)
        if data["audio"] is not None:
            raise ValidationError(NO_AUDIO, "audio")
        if data["role"] == "user" and not said(data).strip():
            raise ValidationError("Must not be empty.", "content")
        if data["role"] in SYSTEM and data["content"] is None:
            raise ValidationError("Must be a string or a list of content parts.", "content")


class Stop(fields.Field[list[str]]):
    """One stop sequence or several."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        stops = [value] if isinstance(value, str) else value
        if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
            raise ValidationError("Must be a string or a list of strings.")
        if len(stops) > MOST_STOPS:
            raise ValidationError(f"Must not have more than {MOST_STOPS} members.")
        if any(len(stop) > MOST_STOP_CHARS for stop in stops):
            raise ValidationError(f"None may be longer than {MOST_STOP_CHARS} characters.")
        return [stop for stop in stops if stop]


class StreamOptionsSchema(Lenient):
    """How to stream."""

    include_usage = Flag(load_default=False, allow_none=True, metadata=about("End with a chunk that tells the usage."))


class ResponseFormatSchema(Lenient):
    """The form of the answer."""

    type = fields.String(required=True, metadata=about("`text`; JSON is not supported yet."))


def _limit() -> fields.Integer:
    return fields.Integer(
        strict=True,
        load_default=None,
        allow_none=True,
        validate=Range(1, LARGEST_NUMBER),
        metadata=about("The most tokens to answer with, where the CLI has a limit."),
    )


def _share(most: float, description: str) -> Number:
    return Number(load_default=None, allow_none=True, validate=Range(0, most), metadata=about(description))


def _unsupported(description: str) -> fields.Raw:
    return fields.Raw(load_default=None, allow_none=True, metadata=about(description))


class ChatSchema(Lenient):
    """A conversation to be answered."""

    model = model_name()
    messages = conversation(ChatMessageSchema)
    stream = streams()
    stream_options = fields.Nested(StreamOptionsSchema, load_default=None, allow_none=True)
    max_completion_tokens = _limit()
    max_tokens = _limit()
    stop = Stop(load_default=list, allow_none=True, metadata=about("The answer ends before the first of them."))
    temperature = _share(2, "How much chance there is.")
    top_p = _share(1, "Of which part of the likely tokens.")
    reasoning_effort = fields.String(
        load_default=None, allow_none=True, validate=OneOf(EFFORTS), metadata=about("How much to reason.")
    )
    n = fields.Integer(
        strict=True,
        load_default=1,
        allow_none=True,
        validate=Range(1, 1, error="Only one answer is supported."),
        metadata=about("1."),
    )
    response_format = fields.Nested(ResponseFormatSchema, load_default=None, allow_none=True)
    logprobs = Flag(load_default=False, allow_none=True, metadata=about("Not supported: no CLI tells them."))
    top_logprobs = fields.Integer(
        strict=True, load_default=0, allow_none=True, validate=Range(0, 20), metadata=about("Not supported.")
    )
    modalities = Many(
        fields.String(),
        least=1,
        most=MOST_MODALITIES,
        load_default=None,
        allow_none=True,
        metadata=about('`["text"]`.'),
    )
    tools = offered_tools()
    tool_choice = _unsupported("`none` or `auto`, as there are no tools.")
    functions = offered_tools()
    function_call = _unsupported("`none` or `auto`, as there are no tools.")
    audio = _unsupported("Not supported.")
    web_search_options = _unsupported("Not supported.")

    @validates_schema
    def check_conversation(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a conversation in which there is nothing to answer."""
        last = _last_spoken(data["messages"])
        if last is None:
            raise ValidationError("Must have a message of the user's.", "messages")
        if data["messages"][last]["role"] != "user":
            raise ValidationError({"messages": {last: {"role": [NO_PREFILL]}}})

    @validates_schema
    def check_support(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse what could not be done."""
        wrong: dict[str, list[str]] = {}
        for offered, choice in (("tools", "tool_choice"), ("functions", "function_call")):
            if data[offered] and data[choice] != "none":
                wrong[offered] = [NO_TOOLS]
            elif data[choice] not in (None, "none", "auto"):
                wrong[choice] = [NO_TOOLS]
        if (data["response_format"] or {"type": "text"})["type"] != "text":
            wrong["response_format"] = [NO_SCHEMA]
        if data["modalities"] not in (None, ["text"]):
            wrong["modalities"] = ["Only text is supported."]
        wrong |= {name: ["Not supported: no CLI tells them."] for name in ("logprobs", "top_logprobs") if data[name]}
        wrong |= {name: ["Not supported."] for name in ("audio", "web_search_options") if data[name] is not None}
        if data["stream_options"] is not None and not data["stream"]:
            wrong["stream_options"] = ["Only allowed when stream is true."]
        if wrong:
            raise ValidationError(wrong)

    @post_load(pass_original=True)
    def make(self, data: dict[str, Any], original: Mapping[str, Any], **_: Any) -> ChatRequest:
        """Load into a ChatRequest."""
        without_effect = [name for name in ("tools", "functions") if data[name]]
        if any(one["name"] is not None for one in data["messages"]):
            without_effect.append("messages.name")
        effort = data["reasoning_effort"] or ""
        ask = Ask(
            model=data["model"],
            system=PARAGRAPH.join(said(one) for one in data["messages"] if one["role"] in SYSTEM and said(one)),
            messages=tuple(_spoken(data["messages"])),
            location=f"messages[{_last_spoken(data['messages'])}].content",
            max_tokens=data["max_completion_tokens"] or data["max_tokens"] or 0,
            sampling=Sampling(
                temperature=data["temperature"],
                top_p=data["top_p"],
                effort="" if effort == "none" else effort,
                thinking_tokens=0 if effort == "none" else None,
            ),
            stop=tuple(data["stop"] or ()),
            ignored=(*(name for name in ADVICE if original.get(name) is not None), *without_effect),
        )
        limit = "max_completion_tokens" if data["max_completion_tokens"] else "max_tokens"
        return ChatRequest(
            ask,
            stream=bool(data["stream"]),
            include_usage=bool((data["stream_options"] or {}).get("include_usage")),
            names=NAMES | {"max_tokens": limit},
        )


def _last_spoken(messages: Sequence[Mapping[str, Any]]) -> int | None:
    """The place of the message that is to be answered; None when there are only instructions."""
    return max((place for place, one in enumerate(messages) if one["role"] not in SYSTEM), default=None)


def _spoken(messages: Iterable[Mapping[str, Any]]) -> Iterable[ChatMessage]:
    """What user and model said, without messages in which nothing was said."""
    return (ChatMessage(one["role"], said(one)) for one in messages if one["role"] not in SYSTEM and said(one))
