"""From what a client asks to what will be started: everything merged and judged, nothing run."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from services.backends.base import Backend, Conversation, Errand, InRun, Options, PromptText, Spawn
from services.chat import PARAGRAPH, transcript
from services.errors import ClinvkError, ErrorCode
from services.flags import check_extra
from services.prompts import Prompt
from services.settings import APPROVAL_MODES, SANDBOX_MODES, BackendSettings, ServerSettings, UnifiedFlags
from services.workdir import resolve_workdir

Mode = TypeVar("Mode", bound=str)

NEUTRAL = "You are a helpful assistant."
"""What a model is told where nobody says anything else: without it the CLI would tell it that it is an agent."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The conversation that a prompt belongs to: its own folder, and the CLI's id of it ("" when it begins).

    ``as_of`` is when anything last happened to it, in Unix seconds; 0 when that is not known for certain.
    """

    folder: str
    cli_session_id: str = ""
    as_of: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A prompt that may run, and how.

    ``kept`` is the conversation that it belongs to, if any.  ``conversation`` is set when it is an errand, which has no
    prompt.
    """

    prompt: Prompt
    backend: Backend
    settings: BackendSettings
    options: Options
    spawn: Spawn
    timeout_s: float
    kept: Kept | None = None
    conversation: Conversation | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the CLI cannot honour."""
        return self.spawn.warnings

    @property
    def ignored(self) -> tuple[str, ...]:
        """What was asked for of the sampling and ``max_tokens`` and does not act, by name."""
        asked = (*self.prompt.sampling.given, *(("max_tokens",) if self.prompt.max_tokens else ()))
        honoured = self.backend.honoured(self.options)
        return tuple(name for name in asked if name not in honoured)


class Planner:
    """Judges prompts by the configuration.  Pure but for looking at the folders that requests name."""

    def __init__(
        self,
        backends: Mapping[str, Backend],
        settings: Mapping[str, BackendSettings],
        defaults: UnifiedFlags,
        server: ServerSettings,
        home: Path | None = None,
    ) -> None:
        """``home`` is the folder of the server's own, where no request may work: other clients' sessions lie there."""
        self._backends = backends
        self._settings = settings
        self._defaults = defaults
        self._server = server
        self._blocked = (*server.blocked_workdir_prefixes, *((str(home),) if home else ()))

    def plan(self, prompt: Prompt, kept: Kept | None = None) -> Plan:
        """Validate and resolve a prompt, of a conversation that is kept or of none.

        Raises ClinvkError naming the field at fault.
        """
        backend = self._backends.get(prompt.backend)
        if backend is None:
            known = ", ".join(self._backends)
            message = f"there is no backend {prompt.backend!r}; there are: {known}"
            raise ClinvkError.field(prompt.at("backend"), message, ErrorCode.UNKNOWN_BACKEND)
        settings = self._settings[prompt.backend]
        if self._defaults.dry_run and not prompt.dry_run:
            prompt = replace(prompt, dry_run=True)
        prompt = _whole(prompt, backend)
        self._check_text(prompt, backend)
        options = self._options(prompt, backend, settings)
        if kept is not None:
            workdir = options.workdir or kept.folder
            keep = backend.can_resume
            private = not options.workdir
            options = replace(
                options, workdir=workdir, keep_session=keep, resume=kept.cli_session_id, private_folder=private
            )
        self._check_modes(prompt, options)
        return self._plan(prompt, backend, options, backend.spawn(options), kept=kept)

    def spawn_in(self, backend: Backend, options: Options, folder: str) -> Spawn:
        """What is started for these options in another folder of a session's own."""
        return self._started(backend.spawn(replace(options, workdir=folder)), self._settings[backend.name])

    def errand(self, prompt: Prompt, options: Options, errand: Errand) -> Plan:
        """The plan of an errand that has a process; ``prompt`` says for whom it is."""
        assert errand.spawn is not None
        backend = self._backends[prompt.backend]
        return self._plan(prompt, backend, options, errand.spawn, conversation=errand.conversation)

    def _plan(
        self,
        prompt: Prompt,
        backend: Backend,
        options: Options,
        spawn: Spawn,
        *,
        kept: Kept | None = None,
        conversation: Conversation | None = None,
    ) -> Plan:
        settings = self._settings[prompt.backend]
        spawn = self._started(spawn, settings)
        timeouts = [self._defaults.command_timeout_secs, self._server.request_timeout_secs]
        timeout_s = min((secs for secs in timeouts if secs > 0), default=0.0)
        return Plan(prompt, backend, settings, options, spawn, timeout_s, kept, conversation)

    def _started(self, spawn: Spawn, settings: BackendSettings) -> Spawn:
        """The spawn with the program that the configuration names, if it does."""
        return replace(spawn, argv=(settings.executable, *spawn.argv[1:])) if settings.executable else spawn

    def _check_text(self, prompt: Prompt, backend: Backend) -> None:
        if not prompt.text.strip():
            raise ClinvkError.field(prompt.at("prompt"), "must not be empty")
        limit = backend.max_prompt_bytes
        if limit and len(prompt.text) * 4 > limit and (size := len(prompt.text.encode())) > limit:
            message = f"has {size} bytes, and {backend.name} takes no more than {limit}"
            raise ClinvkError.field(prompt.at("prompt"), message)
        if prompt.model.startswith("-"):
            raise ClinvkError.field(prompt.at("model"), "must not begin with '-': it could be read as a flag")
        if objection := backend.objection(prompt.text):
            raise ClinvkError.field(prompt.at("prompt"), objection)

    def _options(self, prompt: Prompt, backend: Backend, settings: BackendSettings) -> Options:
        unified = self._defaults
        flags = check_extra(prompt.extra, backend.extra_flags, prompt.at("extra"))
        self._check_mode_flags(flags, backend, prompt)
        self._check_tool_flags(flags, backend, settings, prompt)
        workdir = ""
        if prompt.workdir:
            workdir = resolve_workdir(
                prompt.workdir,
                location=prompt.at("workdir"),
                allowed=self._server.allowed_workdir_prefixes,
                blocked=self._blocked,
            )
        return Options(
            workdir=workdir,
            model=prompt.model or settings.model,
            approval_mode=_chosen(prompt.approval_mode, settings.approval_mode, unified.approval_mode),
            sandbox_mode=_chosen(prompt.sandbox_mode, settings.sandbox_mode, unified.sandbox_mode),
            max_turns=prompt.max_turns or unified.max_turns,
            max_tokens=0 if _is_untold(prompt, backend) else prompt.max_tokens or unified.max_tokens,
            system_prompt=prompt.system_prompt or settings.system_prompt or (NEUTRAL if prompt.as_model else ""),
            append_system_prompt=prompt.append_system_prompt,
            allowed_tools=() if prompt.as_model else settings.allowed_tools,
            verbose=prompt.verbose or unified.verbose,
            extra=(*settings.extra_flags, *prompt.extra),
            max_retries=settings.max_retries,
            messages=prompt.messages,
            sampling=prompt.sampling,
            as_model=prompt.as_model,
        )

    def _check_modes(self, prompt: Prompt, options: Options) -> None:
        for name, mode, allowed in (
            ("approval_mode", options.approval_mode, self._server.allowed_approval_modes),
            ("sandbox_mode", options.sandbox_mode, self._server.allowed_sandbox_modes),
        ):
            if mode not in allowed:
                message = f"{mode!r} is not permitted on this server; permitted: {', '.join(allowed)}"
                raise ClinvkError.field(prompt.at(name), message, ErrorCode.NOT_PERMITTED)

    def _check_mode_flags(self, flags: Mapping[str, str], backend: Backend, prompt: Prompt) -> None:
        """A mode chosen by a flag obeys the same caps; one that is none of ours is permitted only where all are.

        Which of two the CLI would take is its own affair, so where there are caps there must not be two.
        """
        server = self._server
        if {*APPROVAL_MODES} <= {*server.allowed_approval_modes} and {*SANDBOX_MODES} <= {
            *server.allowed_sandbox_modes
        }:
            return
        permitted = {*server.allowed_approval_modes, *server.allowed_sandbox_modes}
        names = [word.partition("=")[0] for word in prompt.extra]
        for flag, value in flags.items():
            modes = backend.mode_flags.get(flag)
            if modes is not None and (modes.get(value) not in permitted or names.count(flag) > 1):
                raise _not_permitted(prompt, f"{flag} {value} is not permitted on this server")

    def _check_tool_flags(
        self, flags: Mapping[str, str], backend: Backend, settings: BackendSettings, prompt: Prompt
    ) -> None:
        """Which tools may be used, the configuration has the last word, if it says anything of them."""
        if settings.allowed_tools is not None and (widening := backend.tool_flags & flags.keys()):
            message = f"{min(widening)}: this server has chosen the tools (backends.{backend.name}.allowed_tools)"
            raise _not_permitted(prompt, message)


def _not_permitted(prompt: Prompt, message: str) -> ClinvkError:
    return ClinvkError.field(prompt.at("extra"), message, ErrorCode.NOT_PERMITTED)


def _whole(prompt: Prompt, backend: Backend) -> Prompt:
    """The prompt with all of its conversation that the CLI cannot be told in another way."""
    if not prompt.chat or (backend.takes_messages and backend.takes_system_prompt):
        return prompt
    system = (
        ""
        if backend.takes_system_prompt
        else PARAGRAPH.join(filter(None, (prompt.system_prompt, prompt.append_system_prompt)))
    )
    messages = () if backend.takes_messages else prompt.messages
    kept = replace(
        prompt,
        text=transcript(system, messages, prompt.text),
        messages=prompt.messages if backend.takes_messages else (),
    )
    return kept if backend.takes_system_prompt else replace(kept, system_prompt="", append_system_prompt="")


def _is_untold(prompt: Prompt, backend: Backend) -> bool:
    """Whether the answer may not be limited, because the client of a chat API would not be told that it was cut off."""
    return prompt.chat and "max_tokens" not in backend.honours


def _chosen(asked: Mode, configured: Mode | None, unified: Mode) -> Mode:
    if asked != "default":
        return asked
    return configured if configured is not None else unified


def command_line(spawn: Spawn) -> str:
    """What would be run, quoted for a shell, the prompt as ``<stdin>``, or ``<prompt>`` where it is an argument."""
    words = [_shown(word) for word in spawn.argv]
    return " ".join(words if any(isinstance(word, PromptText) for word in spawn.argv) else [*words, "<stdin>"])


def _shown(word: str | InRun | PromptText) -> str:
    match word:
        case InRun(name):
            return f"<{name}>"
        case PromptText(before):
            return f"{before}<prompt>"
        case text:
            return shlex.quote(text)
