"""What codex is told of threads: how they are opened, resumed, copied and deleted."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.backends.base import Options
from services.backends.codex.model import NO_ENVIRONMENTS
from services.backends.codex.requests import Request, encode, greeting, read_config
from services.backends.lenient import mapping, text
from services.settings import ApprovalMode, SandboxMode

APPROVAL: Mapping[ApprovalMode, str] = {"auto": "on-request", "none": "never", "always": "untrusted"}
SANDBOX: Mapping[SandboxMode, str] = {
    "read-only": "read-only",
    "workspace": "workspace-write",
    "full": "danger-full-access",
}
SANDBOX_TYPES: Mapping[str, str] = {
    "readOnly": "read-only",
    "workspaceWrite": "workspace-write",
    "dangerFullAccess": "danger-full-access",
}
"""As codex tells of the sandbox of a thread → as it is told."""


def opening(options: Options) -> bytes:
    """What can be said before there is a prompt: who we are and what we do not want to hear; perhaps the thread.

    A thread reads the instructions (AGENTS.md) and the settings of its folder when it opens, so in somebody's folder it
    must not be older than the prompt; and a system prompt would make the process one that fits no other prompt.  A
    model always has one.
    """
    if options.as_model:
        return greeting(experimental=True) + read_config(options)
    if is_kept(options):
        return greeting(experimental=True)
    if options.workdir or options.system_prompt or options.append_system_prompt:
        return greeting()
    return greeting(Request.INITIALIZE_AND_START_THREAD) + start_thread(options, {})


def is_kept(options: Options) -> bool:
    """Whether codex is to keep the thread."""
    return options.keep_session or bool(options.resume)


def start_thread(options: Options, config: Mapping[str, Any]) -> bytes:
    """Open a thread, in the folder that the process was started in; ``config`` is laid over the user's settings.

    A kept one has its whole history in one file.  Copies of a "paginated" one, which codex else makes, only refer to
    the original, and it cannot be deleted before them.
    """
    kept = {"ephemeral": False, "historyMode": "legacy"} if is_kept(options) else {"ephemeral": True}
    params = kept | _given(
        model=_model(options),
        approvalPolicy=_approval(options),
        sandbox=_sandbox(options),
        baseInstructions=options.system_prompt,
        developerInstructions=options.append_system_prompt,
        config=config or None,
    )
    if options.as_model:
        params |= {"environments": NO_ENVIRONMENTS, "developerInstructions": options.append_system_prompt}
    return encode({"id": Request.START_THREAD, "method": "thread/start", "params": params})


def names_its_modes(options: Options) -> bool:
    """Whether nothing of what the agent may do is left to codex; a model may do nothing in any case."""
    return options.as_model or bool(_approval(options) and _sandbox(options))


def start_sample_thread() -> bytes:
    """Open a thread that nothing is asked in."""
    params = {"ephemeral": True}
    return encode({"id": Request.START_SAMPLE_THREAD, "method": "thread/start", "params": params})


def resume_thread(options: Options, config: Mapping[str, Any], modes: Mapping[str, Any]) -> bytes:
    """Open the thread again, in the folder and with the modes of this prompt.

    What is not named stays as it was when the thread was last open, which is right for model and system prompt; for
    what the agent may do, ``modes`` are taken from a fresh thread.
    """
    profile = text(mapping(modes.get("activePermissionProfile")).get("id"))
    sandbox = _sandbox(options)
    params = _given(
        threadId=options.resume,
        excludeTurns=True,
        cwd=options.workdir,
        model=_model(options),
        approvalPolicy=_approval(options) or modes.get("approvalPolicy"),
        permissions="" if sandbox else profile,
        sandbox=sandbox or ("" if profile else _sandbox_of(modes)),
        baseInstructions=options.system_prompt,
        config=config or None,
    )
    return encode({"id": Request.RESUME_THREAD, "method": "thread/resume", "params": params})


def read_thread(options: Options) -> bytes:
    """Ask what codex knows of the thread."""
    return encode({"id": Request.READ_THREAD, "method": "thread/read", "params": {"threadId": options.resume}})


def fork_thread(options: Options, model: str) -> bytes:
    """Copy the thread, whole: without a model the copy would have the one that is codex's default now."""
    params = _given(threadId=options.resume, excludeTurns=True, ephemeral=False, cwd=options.workdir, model=model)
    return encode({"id": Request.FORK_THREAD, "method": "thread/fork", "params": params})


def delete_thread(options: Options) -> bytes:
    """Remove the thread, and those that its agent has opened for helpers."""
    return encode({"id": Request.DELETE_THREAD, "method": "thread/delete", "params": {"threadId": options.resume}})


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value not in ("", None)}


def _model(options: Options) -> str:
    return flag_values(options.extra).get("--model") or options.model


def _approval(options: Options) -> str:
    return APPROVAL.get(options.approval_mode, "")


def _sandbox(options: Options) -> str:
    return flag_values(options.extra).get("--sandbox") or SANDBOX.get(options.sandbox_mode, "")


def _sandbox_of(modes: Mapping[str, Any]) -> str:
    return SANDBOX_TYPES.get(text(mapping(modes.get("sandbox")).get("type")), SANDBOX["read-only"])


def flag_values(extra: Sequence[str]) -> dict[str, str]:
    """The values of extra flags, given as ``--flag value`` or ``--flag=value``, each of them checked before."""
    flags: dict[str, str] = {}
    words = iter(extra)
    for word in words:
        name, has_value, value = word.partition("=")
        flags[name] = value if has_value else next(words, "")
    return flags
