"""What to start for a prompt to codex."""

from services.backends.base import Backend, Errand, Options, Spawn
from services.backends.codex.conversation import CodexConversation
from services.backends.codex.errands import CodexErrand
from services.backends.codex.failures import LOGIN_HINT
from services.backends.codex.login import LOGIN_CHECK
from services.backends.codex.model import HOME
from services.backends.codex.requests import greeting
from services.backends.codex.threads import SANDBOX, flag_values, is_kept, opening

COMMAND = (
    "codex",
    "app-server",
    "-c", "features.plugins=false",
    "-c", "features.unbounded_connection_retries=false",
    "-c", "check_for_update_on_startup=false",
)  # fmt: skip
"""With plugins on, each start fetches catalogues from three hosts, which the end of the run cuts off midway; with
unbounded retries, a network that is down is waited for without end."""

MAX_PROMPT_CHARS = 1_048_576
"""codex refuses more."""


class CodexBackend(Backend):
    """OpenAI's ``codex``.  Nothing of a prompt is on its command line, so a process can be started in advance."""

    name = "codex"
    owner = "openai"
    executable = "codex"
    install_hint = "npm install -g @openai/codex"
    login_hint = LOGIN_HINT
    environment = ("OPENAI_*", "CODEX_*")
    extra_flags = {"--model": True, "--sandbox": True, "--profile": True}  # noqa: RUF012 - read only, as in the base
    mode_flags = {"--sandbox": {value: mode for mode, value in SANDBOX.items()}, "--profile": {}}  # noqa: RUF012
    tested_version = "0.169.0"
    login_check = LOGIN_CHECK
    can_resume = True
    honours = frozenset({"effort"})
    takes_messages = True

    def spawn(self, options: Options) -> Spawn:
        """A server that is greeted, and that opens its thread where it need not know more for that.

        A thread that is kept is one of the user's own home: in another, codex would take note of where it lies there.
        """
        home = HOME if options.as_model and not is_kept(options) else None
        return Spawn(COMMAND, options.workdir, opening=opening(options), home=home, warnings=warnings(options))

    def objection(self, prompt: str) -> str:
        """Refuse here what codex would refuse."""
        if len(prompt) <= MAX_PROMPT_CHARS:
            return ""
        return f"has {len(prompt)} characters, and codex takes no more than {MAX_PROMPT_CHARS}"

    def conversation(self, options: Options, prompt: str) -> CodexConversation:
        """A turn of a thread of its own, or of the one to be resumed."""
        return CodexConversation(options, prompt)

    def fork(self, options: Options) -> Errand:
        """Let codex copy its thread."""
        return Errand(Spawn(COMMAND, options.workdir, opening=greeting()), CodexErrand.copying(options))

    def forget(self, options: Options) -> Errand:
        """Let codex delete its thread."""
        return Errand(Spawn(COMMAND, options.workdir, opening=greeting()), CodexErrand.deleting(options))


def warnings(options: Options) -> tuple[str, ...]:
    """What codex cannot honour."""
    picked_tools = options.allowed_tools is not None and not options.as_model
    asked_for = {
        "max_turns: codex has no such limit": options.max_turns > 0,
        "max_tokens: codex has no such limit": options.max_tokens > 0,
        "allowed_tools: codex cannot be held to some of its tools": picked_tools,
        "verbose: codex app-server says the same in any case": options.verbose,
        "--profile: codex app-server knows no profiles": "--profile" in flag_values(options.extra),
    }
    return tuple(warning for warning, is_asked_for in asked_for.items() if is_asked_for)
