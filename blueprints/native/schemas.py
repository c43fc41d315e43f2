"""What the native API takes.

The schemas load into the dataclasses of the services, document themselves, and refuse what they do not know: a typo is
told.  They look at nothing but the request.
"""

from dataclasses import replace
from typing import Any

import marshmallow as ma
from marshmallow import ValidationError, fields, post_load, validates_schema
from marshmallow.validate import Length

from blueprints.fields import Flag, Many, Texts, about, choice, count, flag, required_text, text
from services.orchestration import Chain, Compare, Parallel, Step
from services.prompts import Prompt
from services.settings import APPROVAL_MODES, OUTPUT_FORMATS, SANDBOX_MODES

MOST_TASKS = 100
MOST_METADATA = 64
MOST_EXTRA = 64
MOST_BACKENDS = 32

ANSWER_FORMAT = "`stream-json` streams events; all others answer once, in JSON (or `text/plain`, if `Accept` asks)."
STREAM_FORMAT = "`stream-json` streams the events of all runs; all others answer once, in JSON."
DRY_RUN = "Run nothing; answer the command lines that would be run."


class PromptSchema(ma.Schema):
    """A prompt for one backend."""

    backend = required_text("The backend, such as `claude`.")
    prompt = required_text("What to say to it.")
    model = text("The model; the backend's default when empty.")
    workdir = text("The folder to work in; a private empty one when empty.")
    session_id = text("The session to continue.")
    ephemeral = flag("Keep no session.")
    approval_mode = choice(APPROVAL_MODES, "What the CLI may do without asking.")
    sandbox_mode = choice(SANDBOX_MODES, "What the CLI may touch.")
    output_format = choice(OUTPUT_FORMATS, ANSWER_FORMAT)
    max_tokens = count("The most tokens to answer with; 0: no limit of ours.")
    max_turns = count("The most turns to take; 0: no limit of ours.")
    system_prompt = text("Replaces the CLI's own system prompt, where it can.")
    append_system_prompt = text("Is added to the CLI's own system prompt.")
    verbose = flag("Let the CLI tell more.")
    dry_run = flag("Run nothing; answer the command line that would be run.")
    extra = Many(fields.String(), most=MOST_EXTRA, load_default=list, metadata=about("More flags for the CLI."))
    metadata = Texts(most=MOST_METADATA, load_default=dict, metadata=about("Notes of the client's."))

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Any:
        """Load into a Prompt."""
        return Prompt(text=data.pop("prompt"), extra=tuple(data.pop("extra")), **data)


class ParallelSchema(ma.Schema):
    """Prompts to run at once."""

    tasks = Many(
        fields.Nested(PromptSchema), least=1, most=MOST_TASKS, required=True, metadata=about("The prompts, in order.")
    )
    max_parallel = count("The most to run at once; 0: as configured (`parallel.max_workers`).", MOST_TASKS)
    fail_fast = Flag(load_default=None, metadata=about("Cancel the rest when one fails; by default as configured."))
    dry_run = flag(DRY_RUN)
    output_format = choice(OUTPUT_FORMATS, STREAM_FORMAT)

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Parallel:
        """Load into a Parallel."""
        tasks = [replace(prompt, location=f"tasks[{index}]") for index, prompt in enumerate(data.pop("tasks"))]
        return Parallel(tasks, **data)


class StepSchema(PromptSchema):
    """A step of a chain; in its prompt `{{previous}}` stands for the output of the last successful step."""

    name = text("A name for the results.")

    @post_load
    def make(self, data: dict[str, Any], **kwargs: Any) -> Step:
        """Load into a Step."""
        name = data.pop("name")
        return Step(name, super().make(data, **kwargs))


class ChainSchema(ma.Schema):
    """Prompts to run one after the other."""

    steps = Many(
        fields.Nested(StepSchema), least=1, most=MOST_TASKS, required=True, metadata=about("The steps, in order.")
    )
    stop_on_failure = flag("End the chain with the first step that fails.")
    pass_working_dir = flag("Let a step without `workdir` work in that of the step before.")
    dry_run = flag(DRY_RUN)
    output_format = choice(OUTPUT_FORMATS, STREAM_FORMAT)
    pass_session_id = flag("Not supported: chains are ephemeral.")
    persist_sessions = flag("Not supported: chains are ephemeral.")

    @validates_schema
    def check_ephemeral(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse what would need sessions."""
        wanted = [name for name in ("pass_session_id", "persist_sessions") if data.get(name)]
        if wanted:
            raise ValidationError({name: ["Not supported: chains are ephemeral."] for name in wanted})

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Chain:
        """Load into a Chain."""
        del data["pass_session_id"], data["persist_sessions"]
        steps = [
            replace(step, prompt=replace(step.prompt, location=f"steps[{index}]"))
            for index, step in enumerate(data.pop("steps"))
        ]
        return Chain(steps, **data)


class CompareSchema(ma.Schema):
    """One prompt for several backends."""

    prompt = required_text("What to say to them.")
    backends = Many(
        fields.String(validate=Length(1)),
        least=1,
        most=MOST_BACKENDS,
        required=True,
        metadata=about("The backends, each once."),
    )
    model = text("The model, for every backend that `models` does not name.")
    models = Texts(most=MOST_BACKENDS, load_default=dict, metadata=about("The model by backend."))
    workdir = text("The folder to work in; a private empty one for each when empty.")
    sequential = flag("One after the other instead of all at once.")
    dry_run = flag(DRY_RUN)
    output_format = choice(OUTPUT_FORMATS, STREAM_FORMAT)

    @validates_schema
    def check_backends(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a backend named twice, and a model for one that is not asked."""
        backends = data["backends"]
        twice = {i: ["Is named more than once."] for i, name in enumerate(backends) if name in backends[:i]}
        stray = {name: ["Is not one of the backends compared."] for name in data["models"] if name not in backends}
        if twice or stray:
            raise ValidationError({"backends": twice, "models": stray})

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Compare:
        """Load into a Compare."""
        return Compare(**data)
