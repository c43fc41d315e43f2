"""What the native API takes, and what it answers.

The schemas load into the dataclasses of the services, document themselves, and refuse what they do not know: a typo is
told.  They look at nothing but the request.
"""

from typing import Any

import marshmallow as ma
from marshmallow import fields, post_load
from marshmallow.validate import Length, OneOf, Range

from services.prompts import Prompt
from services.settings import APPROVAL_MODES, OUTPUT_FORMATS, SANDBOX_MODES

MAX_METADATA = 64
MAX_EXTRA = 64
LARGEST_NUMBER = 2**31 - 1


def about(description: str) -> dict[str, str]:
    """The documentation of a field."""
    return {"description": description}


class Flag(fields.Boolean):
    """``true`` or ``false`` and nothing that resembles them."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Many(fields.List[Any]):
    """A list whose length is looked at before its members are."""

    def __init__(self, inner: fields.Field[Any], *, least: int = 0, most: int, **kwargs: Any) -> None:
        self._length = Length(least, most)
        super().__init__(inner, validate=self._length, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, list):
            self._length(value)
        return super()._deserialize(value, attr, data, **kwargs)


class Texts(fields.Dict):
    """An object of strings, such as metadata."""

    def __init__(self, *, most: int, **kwargs: Any) -> None:
        self._length = Length(max=most)
        super().__init__(keys=fields.String(), values=fields.String(), validate=self._length, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        self._length(value)
        wrong = {key: ["Not a valid string."] for key, text in value.items() if not isinstance(text, str)}
        if wrong:
            raise ma.ValidationError(wrong)
        return value


def count(description: str) -> fields.Integer:
    """A number of things; 0 leaves it to the configuration and the CLI."""
    return fields.Integer(strict=True, load_default=0, validate=Range(0, LARGEST_NUMBER), metadata=about(description))


def text(description: str) -> fields.String:
    """An optional text; empty leaves it to the configuration and the CLI."""
    return fields.String(load_default="", metadata=about(description))


def choice(values: tuple[str, ...], description: str) -> fields.String:
    """One of a few words."""
    return fields.String(load_default="default", validate=OneOf(values), metadata=about(description))


def flag(description: str) -> Flag:
    """Off unless switched on."""
    return Flag(load_default=False, metadata=about(description))


OUTPUT_FORMAT = "`stream-json` streams events; all others answer once, in JSON (or `text/plain`, if `Accept` asks)."


class PromptSchema(ma.Schema):
    """A prompt for one backend."""

    backend = fields.String(required=True, validate=Length(1), metadata=about("The backend, such as `claude`."))
    prompt = fields.String(required=True, validate=Length(1), metadata=about("What to say to it."))
    model = text("The model; the backend's default when empty.")
    workdir = text("The folder to work in; a private empty one when empty.")
    session_id = text("The session to continue.")
    ephemeral = flag("Keep no session.")
    approval_mode = choice(APPROVAL_MODES, "What the CLI may do without asking.")
    sandbox_mode = choice(SANDBOX_MODES, "What the CLI may touch.")
    output_format = choice(OUTPUT_FORMATS, OUTPUT_FORMAT)
    max_tokens = count("The most tokens to answer with; 0: no limit of ours.")
    max_turns = count("The most turns to take; 0: no limit of ours.")
    system_prompt = text("Replaces the CLI's own system prompt, where it can.")
    append_system_prompt = text("Is added to the CLI's own system prompt.")
    verbose = flag("Let the CLI tell more.")
    dry_run = flag("Run nothing; answer the command line that would be run.")
    extra = Many(fields.String(), most=MAX_EXTRA, load_default=list, metadata=about("More flags for the CLI."))
    metadata = Texts(most=MAX_METADATA, load_default=dict, metadata=about("Notes of the client's."))

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Any:
        """Load into a Prompt."""
        return Prompt(text=data.pop("prompt"), extra=tuple(data.pop("extra")), **data)


class TokenUsageSchema(ma.Schema):
    """Tokens of a run."""

    input_tokens = fields.Integer(metadata=about("All input."))
    output_tokens = fields.Integer(metadata=about("All output, reasoning included."))
    cached_tokens = fields.Integer(metadata=about("The part of the input that was read from a cache."))
    reasoning_tokens = fields.Integer(metadata=about("The part of the output that was reasoning."))


class AnswerSchema(ma.Schema):
    """What a run came to."""

    run_id = fields.String(metadata=about("The run; absent when nothing was run."))
    backend = fields.String(metadata=about("The backend that answered."))
    model = fields.String(metadata=about("The model that answered, as the CLI names it."))
    exit_code = fields.Integer(metadata=about("The CLI's; 1 when it only reported a failure, -1 when we ended it."))
    duration_ms = fields.Integer(metadata=about("From the request's arrival to the end of the run."))
    output = fields.String(metadata=about("What the backend said."))
    error = fields.String(metadata=about("What went wrong; absent when nothing did."))
    error_code = fields.String(metadata=about("Its code."))
    token_usage = fields.Nested(TokenUsageSchema)
    cost_usd = fields.Float(metadata=about("The cost, where the CLI tells it."))
    warnings = fields.List(fields.String(), metadata=about("What was asked for and this backend cannot honour."))


class EventSchema(ma.Schema):
    """One event of a stream: a line of NDJSON, or the data of a server-sent event."""

    type = fields.String(
        validate=OneOf(
            ("init", "message", "thinking", "tool_use", "tool_result", "progress", "token_usage", "done", "error")
        ),
        metadata=about("The last event of a stream is `done` or `error`."),
    )
    backend = fields.String(metadata=about("The backend it comes from."))
    session_id = fields.String(metadata=about("The session; empty when ephemeral."))
    run_id = fields.String(metadata=about("The run it belongs to."))
    task = fields.Integer(metadata=about("The index of the task, step or backend, where there are several."))
    timestamp = fields.DateTime(metadata=about("When it was seen, RFC 3339."))
    sequence = fields.Integer(metadata=about("From 1, without gaps."))
    content = fields.Dict(metadata=about("What it says, by its type."))
