"""Parallel, chain and compare: each is validated whole, then becomes an ensemble of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.ensemble import PREVIOUS, Caller, Ensemble, OneByOne, SideBySide, Task
from services.errors import ClinvkError
from services.prompts import Prompt
from services.running import Runner
from services.settings import OutputFormat, ParallelSettings, ServerSettings

SESSION = "{{session}}"


@dataclass(frozen=True, slots=True)
class Parallel:
    """Several prompts at once.  ``max_parallel=0`` and ``fail_fast=None`` leave it to the configuration."""

    tasks: Sequence[Prompt]
    max_parallel: int = 0
    fail_fast: bool | None = None
    dry_run: bool = False
    output_format: OutputFormat = "default"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a chain; its prompt may contain ``{{previous}}``."""

    name: str
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Chain:
    """Prompts one after the other."""

    steps: Sequence[Step]
    stop_on_failure: bool = False
    pass_working_dir: bool = False
    dry_run: bool = False
    output_format: OutputFormat = "default"


@dataclass(frozen=True, slots=True)
class Compare:
    """One prompt for several backends."""

    prompt: str
    backends: Sequence[str]
    model: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    workdir: str = ""
    sequential: bool = False
    dry_run: bool = False
    output_format: OutputFormat = "default"


@dataclass(frozen=True, slots=True)
class ComparedPrompt(Prompt):
    """The prompt for one of the backends compared, whose fields stand in different places of the request."""

    has_own_model: bool = False

    def at(self, name: str) -> str:
        """The path of one of the prompt's fields in the request."""
        match name:
            case "backend":
                return self.location
            case "model" if self.has_own_model:
                return f"models.{self.backend}"
            case _:
                return name


class Orchestrator:
    """Makes ensembles of requests, by the configuration."""

    def __init__(self, runs: Runner, parallel: ParallelSettings, limits: ServerSettings) -> None:
        self._runs = runs
        self._parallel = parallel
        self._limits = limits

    def parallel(self, request: Parallel, caller: Caller) -> Ensemble:
        """The ensemble of a parallel request.  Raises ClinvkError, before anything runs."""
        prompts = [_dry(prompt, request.dry_run) for prompt in request.tasks]
        tasks = [self._task(index, prompt, caller) for index, prompt in enumerate(prompts)]
        fail_fast = self._parallel.fail_fast if request.fail_fast is None else request.fail_fast
        at_once = request.max_parallel or self._parallel.max_workers
        return SideBySide(self._runs, tasks, caller, self._limits, at_once=at_once, fail_fast=fail_fast)

    def chain(self, request: Chain, caller: Caller) -> Ensemble:
        """The ensemble of a chain.  Raises ClinvkError, before anything runs."""
        tasks = []
        workdir = ""
        for index, step in enumerate(request.steps):
            prompt = _dry(step.prompt, request.dry_run)
            _check_placeholders(prompt, is_first=index == 0)
            if request.pass_working_dir:
                workdir = prompt.workdir or workdir
                prompt = replace(prompt, workdir=workdir)
            tasks.append(self._task(index, prompt, caller, step.name))
        return OneByOne(self._runs, tasks, caller, self._limits, stop_on_failure=request.stop_on_failure)

    def compare(self, request: Compare, caller: Caller) -> Ensemble:
        """The ensemble of a comparison.  Raises ClinvkError, before anything runs."""
        tasks = []
        for index, backend in enumerate(request.backends):
            prompt = ComparedPrompt(
                backend=backend,
                text=request.prompt,
                model=request.models.get(backend, request.model),
                workdir=request.workdir,
                dry_run=request.dry_run,
                location=f"backends[{index}]",
                has_own_model=backend in request.models,
            )
            tasks.append(self._task(index, prompt, caller))
        at_once = 1 if request.sequential else len(tasks)
        return SideBySide(self._runs, tasks, caller, self._limits, at_once=at_once)

    def _task(self, index: int, prompt: Prompt, caller: Caller, name: str = "") -> Task:
        if prompt.session_id:
            raise ClinvkError.field(prompt.at("session_id"), "runs of this kind are ephemeral and continue no session")
        return Task(index, self._runs.check(replace(prompt, owner=caller.owner)), name)


def _dry(prompt: Prompt, dry_run: bool) -> Prompt:
    return replace(prompt, dry_run=True) if dry_run else prompt


def _check_placeholders(prompt: Prompt, *, is_first: bool) -> None:
    if SESSION in prompt.text:
        raise ClinvkError.field(prompt.at("prompt"), f"{SESSION} is not supported: chains are ephemeral")
    if is_first and PREVIOUS in prompt.text:
        raise ClinvkError.field(prompt.at("prompt"), f"{PREVIOUS} means nothing in the first step")
