"""What a client asks for, in one shape for every dialect."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.chat import AS_USUAL, ChatMessage, Sampling
from services.settings import ApprovalMode, OutputFormat, SandboxMode


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request to one backend, as the client made it: nothing is merged or judged yet.

    ``default``, empty and 0 leave the choice to the configuration and, behind it, to the CLI.  ``owner`` stands for the
    API key that the request came with.  ``location`` is where the prompt stands in the request (``tasks[1]``; "" when
    it is the request), for error messages.

    ``chat`` is set on the routes of the chat APIs: ``messages`` came before the text, and nothing of it may get lost.
    The answer ends where one of ``stop`` is said.
    With ``as_model`` a model answers and no agent: the CLI's tools, the user's memory files, hooks and MCP servers are
    off, and the system prompt is all that it is told.
    """

    backend: str
    text: str
    model: str = ""
    workdir: str = ""
    session_id: str = ""
    ephemeral: bool = False
    approval_mode: ApprovalMode = "default"
    sandbox_mode: SandboxMode = "default"
    output_format: OutputFormat = "default"
    max_tokens: int = 0
    max_turns: int = 0
    system_prompt: str = ""
    append_system_prompt: str = ""
    verbose: bool = False
    dry_run: bool = False
    extra: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    messages: tuple[ChatMessage, ...] = ()
    sampling: Sampling = AS_USUAL
    stop: tuple[str, ...] = ()
    chat: bool = False
    as_model: bool = False
    owner: str = ""
    location: str = ""

    def at(self, name: str) -> str:
        """The path of one of the prompt's fields in the request."""
        return f"{self.location}.{name}" if self.location else name
