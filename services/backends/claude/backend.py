"""What to start for a prompt to claude."""

from dataclasses import replace

from services.backends.base import Backend, Conversation, Errand, Options, Spawn
from services.backends.claude.conversation import ClaudeConversation
from services.backends.claude.failures import LOGIN_HINT
from services.backends.claude.login import LOGIN_CHECK
from services.backends.claude.options import EXTRA_FLAGS, environment, guards, split_extra
from services.backends.claude.sampling import HONOURS, honoured
from services.backends.claude.traces import NAMED_BY_SESSION, is_session_id
from services.backends.claude.wire import question, settings, silence
from services.settings import ApprovalMode

COMMAND = (
    "claude",
    "-p",
    "--input-format", "stream-json",
    "--output-format", "stream-json",
    "--verbose",
    "--include-partial-messages",
)  # fmt: skip
"""What every run has: ``--verbose`` is a condition of stream-json, and stays silent otherwise."""

NOTHING_BUT_A_MODEL = ("--tools=", "--strict-mcp-config", "--setting-sources=")
"""No tool, no MCP server, no settings file: no hook, plugin, memory or output style, but no login from there either."""

PERMISSION_MODES: dict[ApprovalMode, str] = {"auto": "acceptEdits", "none": "dontAsk", "always": "default"}

NO_SANDBOX = "sandbox_mode: claude has no sandbox of its own, so it runs with the rights of the server's user"


class ClaudeBackend(Backend):
    """Anthropic's ``claude``.  Nothing of a prompt is on its command line, so a process can be started in advance."""

    name = "claude"
    owner = "anthropic"
    executable = "claude"
    install_hint = "npm install -g @anthropic-ai/claude-code"
    login_hint = LOGIN_HINT
    environment = (
        "ANTHROPIC_*",
        "CLAUDE_*",
        "DISABLE_*",
        "API_TIMEOUT_MS",
        "BASH_DEFAULT_TIMEOUT_MS",
        "BASH_MAX_OUTPUT_LENGTH",
        "BASH_MAX_TIMEOUT_MS",
        "IS_SANDBOX",
        "MAX_MCP_OUTPUT_TOKENS",
        "MAX_THINKING_TOKENS",
        "MCP_TIMEOUT",
        "MCP_TOOL_TIMEOUT",
    )
    extra_flags = EXTRA_FLAGS
    tool_flags = frozenset({"--allowed-tools", "--allowedTools"})
    mode_flags = {  # noqa: RUF012 - read only, as in the base
        "--permission-mode": {value: mode for mode, value in PERMISSION_MODES.items()},
        **{flag: {} for flag in tool_flags},
    }
    tested_version = "2.1.197"
    login_check = LOGIN_CHECK
    can_resume = True
    folder_bound = True
    honours = HONOURS
    takes_messages = True

    def spawn(self, options: Options) -> Spawn:
        """The command for these options; what depends on the prompt is told to the process later."""
        return Spawn(
            argv=(*COMMAND, *_flags(options)),
            cwd=options.workdir,
            environment=environment(options),
            opening=settings(guards(options)),
            leftovers=() if _leaves_nothing(options) else NAMED_BY_SESSION,
            warnings=(NO_SANDBOX,) if options.sandbox_mode != "default" and not options.as_model else (),
        )

    def honoured(self, options: Options) -> frozenset[str]:
        """What acts with the model that is asked: each refuses something, which is then not sent."""
        return honoured(options)

    def conversation(self, options: Options, prompt: str) -> Conversation:
        """A conversation that asks this prompt."""
        return ClaudeConversation(options, question(prompt))

    def fork(self, options: Options) -> Errand:
        """Let claude take the conversation up under another id and say nothing: it writes the copy down."""
        spawn = self.spawn(options)
        copying = replace(spawn, argv=(*spawn.argv, "--fork-session"))
        return Errand(copying, ClaudeConversation(options, silence()))

    def forget(self, options: Options) -> Errand:
        """Remove what claude has written down; it has no command for that."""
        return Errand(leftovers=NAMED_BY_SESSION) if is_session_id(options.resume) else Errand()


def _leaves_nothing(options: Options) -> bool:
    """Whether nothing in claude's home is to be removed: it is to be kept or, without tools, not there at all."""
    return options.keep_session or bool(options.resume) or options.as_model


def _flags(options: Options) -> list[str]:
    """The flags of the options, each in one word, so that no value can be read as a flag; the last one wins."""
    flags = [] if options.keep_session else ["--no-session-persistence"]
    if options.resume:
        flags.append(f"--resume={options.resume}")
    if options.model:
        flags.append(f"--model={options.model}")
    if options.as_model:
        return [*flags, *NOTHING_BUT_A_MODEL, *split_extra(options).flags]
    if options.approval_mode != "default":
        flags.append(f"--permission-mode={PERMISSION_MODES[options.approval_mode]}")
    if options.max_turns:
        flags.append(f"--max-turns={options.max_turns}")
    if options.allowed_tools is not None:
        flags.extend(_tool_flags(options.allowed_tools))
    return [*flags, *split_extra(options).flags]


def _tool_flags(allowed: tuple[str, ...]) -> list[str]:
    """Of claude's own tools only these exist for the model, and it may use them as the rules (``Bash(git *)``) say.

    Tools of MCP servers are not claude's own: here they are only allowed.
    """
    own = dict.fromkeys(rule.partition("(")[0].strip() for rule in allowed if not rule.startswith("mcp__"))
    return [f"--tools={','.join(own)}", *(f"--allowed-tools={rule}" for rule in allowed)]
