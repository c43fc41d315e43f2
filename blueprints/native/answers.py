"""What the native API answers, as schemas for its documentation (translate.py writes it)."""

import marshmallow as ma
from marshmallow import fields
from marshmallow.validate import OneOf

from blueprints.fields import about

EVENT_TYPES = ("init", "message", "thinking", "tool_use", "tool_result", "progress", "token_usage", "done", "error")


class TokenUsageSchema(ma.Schema):
    """Tokens of a run."""

    input_tokens = fields.Integer(metadata=about("All input."))
    output_tokens = fields.Integer(metadata=about("All output, reasoning included."))
    cached_tokens = fields.Integer(metadata=about("The part of the input that was read from a cache."))
    reasoning_tokens = fields.Integer(metadata=about("The part of the output that was reasoning."))


class SpentSchema(ma.Schema):
    """What it cost."""

    token_usage = fields.Nested(TokenUsageSchema)
    cost_usd = fields.Float(metadata=about("The cost, where the CLI tells it."))


class AnswerSchema(SpentSchema):
    """What a run came to."""

    run_id = fields.String(metadata=about("The run; absent when nothing was run."))
    session_id = fields.String(metadata=about("The session it is recorded in; absent when it is in none."))
    backend = fields.String(metadata=about("The backend that answered."))
    model = fields.String(metadata=about("The model that answered, as the CLI names it."))
    exit_code = fields.Integer(metadata=about("The CLI's; 1 when it only reported a failure, -1 when we ended it."))
    duration_ms = fields.Integer(metadata=about("How long it took, the wait for a run slot included."))
    output = fields.String(metadata=about("What the backend said."))
    error = fields.String(metadata=about("What went wrong; absent when nothing did."))
    error_code = fields.String(metadata=about("Its code."))
    warnings = fields.List(fields.String(), metadata=about("What was asked for and this backend cannot honour."))


class StepAnswerSchema(AnswerSchema):
    """What a step of a chain came to."""

    step = fields.Integer(metadata=about("The number of the step, from 1."))
    name = fields.String(metadata=about("The name that the request gave it."))


class ParallelAnswerSchema(SpentSchema):
    """What several prompts came to."""

    total_tasks = fields.Integer(metadata=about("Tasks of the request."))
    completed = fields.Integer(metadata=about("Tasks that succeeded."))
    failed = fields.Integer(metadata=about("Tasks that failed."))
    canceled = fields.Integer(metadata=about("Tasks that were ended, or not begun, because of another."))
    total_duration_ms = fields.Integer(metadata=about("How long it took in all."))
    results = fields.List(fields.Nested(AnswerSchema), metadata=about("One for each task, in their order."))


class ChainAnswerSchema(SpentSchema):
    """What a chain came to."""

    total_steps = fields.Integer(metadata=about("Steps of the request."))
    completed_steps = fields.Integer(metadata=about("Steps that succeeded."))
    failed_step = fields.Integer(metadata=about("The first step that failed, from 1; 0: none."))
    total_duration_ms = fields.Integer(metadata=about("How long it took in all."))
    results = fields.List(fields.Nested(StepAnswerSchema), metadata=about("One for each step that was come to."))


class CompareAnswerSchema(SpentSchema):
    """What the backends said."""

    prompt = fields.String(metadata=about("The prompt."))
    backends = fields.List(fields.String(), metadata=about("The backends, as asked."))
    total_duration_ms = fields.Integer(metadata=about("How long it took in all."))
    results = fields.List(fields.Nested(AnswerSchema), metadata=about("One for each backend, in their order."))


class EventSchema(ma.Schema):
    """One event of a stream: a line of NDJSON, or the data of a server-sent event."""

    type = fields.String(
        validate=OneOf(EVENT_TYPES), metadata=about("The last event of a stream is `done` or `error`.")
    )
    backend = fields.String(metadata=about("The backend it comes from."))
    session_id = fields.String(metadata=about("The session; empty when ephemeral."))
    run_id = fields.String(metadata=about("The run it belongs to."))
    task = fields.Integer(metadata=about("The index of the task, step or backend, where there are several."))
    timestamp = fields.DateTime(metadata=about("When it was seen, RFC 3339."))
    sequence = fields.Integer(metadata=about("From 1, without gaps."))
    content = fields.Dict(metadata=about("What it says, by its type."))


class BackendSchema(ma.Schema):
    """A backend."""

    name = fields.String(metadata=about("As requests call it."))
    available = fields.Boolean(metadata=about("Whether its program can be run."))
    enabled = fields.Boolean(metadata=about("Whether the configuration lets it run."))
    version = fields.String(metadata=about("The version of its program; empty while it is not known."))
    tested = fields.Boolean(
        allow_none=True,
        metadata=about(
            "Whether the server's own tests were run with exactly this version; false as long as the version is not "
            "known, null for a command of the configuration (it is tested with none)."
        ),
    )
    default_model = fields.String(metadata=about("The configured model; empty: the CLI's own choice."))


class BackendsSchema(ma.Schema):
    """All backends."""

    backends = fields.List(fields.Nested(BackendSchema), metadata=about("In a fixed order."))
