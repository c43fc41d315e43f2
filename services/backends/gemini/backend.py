"""What to start for a prompt to gemini."""

from services.backends.base import Backend, Errand, InRun, Options, Spawn
from services.backends.gemini.conversation import GeminiConversation, GeminiCopy, opening
from services.backends.gemini.failures import LOGIN_HINT
from services.backends.gemini.history import FOLDER, PLACE, works_in
from services.backends.gemini.home import private_home
from services.backends.gemini.login import LOGIN_CHECK
from services.backends.gemini.sampling import HONOURS, system_text
from services.settings import ApprovalMode

COMMAND = ("gemini", "--acp", "--skip-trust")

APPROVAL_MODES: dict[ApprovalMode, str] = {"auto": "auto_edit", "none": "yolo", "always": "default"}

SANDBOX = (
    "sandbox_mode: gemini's own sandbox is a container, which takes no prompt in this mode; instead gemini runs without"
    " its shell tool, and for read-only without the tools that write"
)
VARIABLES = ("${AgentSkills}", "${AvailableTools}", "${SubAgents}", "_ToolName}")


class GeminiBackend(Backend):
    """Google's ``gemini``.  Nothing of a prompt is on its command line, so a process can be started in advance."""

    name = "gemini"
    owner = "google"
    executable = "gemini"
    install_hint = "npm install -g @google/gemini-cli"
    login_hint = LOGIN_HINT
    environment = ("GEMINI_*", "GOOGLE_*")
    extra_flags = {"--model": True, "--approval-mode": True, "--debug": False}  # noqa: RUF012 - read only, as in the base
    mode_flags = {"--approval-mode": {value: mode for mode, value in APPROVAL_MODES.items()}}  # noqa: RUF012
    tested_version = "0.61.0"
    login_check = LOGIN_CHECK
    version_environment = {  # noqa: RUF012 - else it leaves files in the user's home, and starts itself a second time
        "GEMINI_CLI_HOME": ".",
        "GEMINI_CLI_NO_RELAUNCH": "true",
    }
    can_resume = True
    honours = HONOURS
    takes_messages = True

    def spawn(self, options: Options) -> Spawn:
        """A server with its session open, waiting for the prompt.

        The messages before that are in a file of its home, so that with any a spawn is like no other.
        """
        environment: list[tuple[str, str | InRun]] = [("GEMINI_CLI_NO_RELAUNCH", "true")]
        files: list[tuple[str, str]] = []
        if options.system_prompt:
            environment.append(("GEMINI_SYSTEM_MD", InRun("system.md")))
            files.append(("system.md", system_text(options)))
        return Spawn(
            argv=(*COMMAND, *flags(options)),
            cwd=works_in(options),
            environment=tuple(environment),
            files=tuple(files),
            opening=opening(options),
            home=private_home(options),
            in_advance=not options.messages,  # which come with the prompt
            warnings=warnings(options),
        )

    def conversation(self, options: Options, prompt: str) -> GeminiConversation:
        """A prompt in a session of its own, or in one that was kept."""
        return GeminiConversation(options, prompt)

    def fork(self, options: Options) -> Errand:
        """A process that loads the conversation, and keeps it by the name of a session that it opens."""
        return Errand(self.spawn(options), GeminiCopy(options))

    def forget(self, options: Options) -> Errand:  # noqa: ARG002 - the same for all
        """All that is kept is one file."""
        return Errand(leftovers=(PLACE,), empty_folders=(FOLDER,))


def flags(options: Options) -> tuple[str, ...]:
    """The options that are flags.  gemini fails when it is given one twice."""
    given = {word.partition("=")[0] for word in options.extra}
    chosen: list[str] = []
    if options.model and "--model" not in given:
        chosen.append(f"--model={options.model}")
    if options.approval_mode in APPROVAL_MODES and "--approval-mode" not in given and not options.as_model:
        chosen.append(f"--approval-mode={APPROVAL_MODES[options.approval_mode]}")
    if options.verbose and "--debug" not in given:
        chosen.append("--debug")
    return (*chosen, *options.extra)


def warnings(options: Options) -> tuple[str, ...]:
    """What gemini cannot honour."""
    system, texts = options.system_prompt, (options.system_prompt, options.append_system_prompt)
    asked_for = {
        SANDBOX: options.sandbox_mode in ("read-only", "workspace") and not options.as_model,
        "system_prompt: gemini replaces its own variables, such as ${AvailableTools}, in it": any(
            variable in system for variable in VARIABLES
        ),
        "system_prompt: gemini leaves out blank lines at its ends, and all but one of several in a row": any(
            "\n\n\n" in text or text != text.strip() for text in texts
        ),
    }
    return tuple(warning for warning, is_asked_for in asked_for.items() if is_asked_for)
