"""The headers of our own that the chat APIs heed and send: their names, and what openapi.json says of them."""

from collections.abc import Mapping
from typing import Any

from services.settings import APPROVAL_MODES, SANDBOX_MODES

TOOLS = "X-Clinvk-Tools"
WORKDIR = "X-Clinvk-Workdir"
APPROVAL = "X-Clinvk-Approval-Mode"
SANDBOX = "X-Clinvk-Sandbox-Mode"
SESSION = "X-Clinvk-Session"
RUN = "X-Clinvk-Run"
IGNORED = "X-Clinvk-Ignored"
USAGE = "X-Clinvk-Usage"

TOOLS_WORDS = ("none", "cli")
ESTIMATED = "estimated"

Documented = Mapping[str, Mapping[str, Any]]
"""What a header is, by its name, as OpenAPI says it."""


def _header(description: str, **schema: Any) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string", **schema}}


REQUEST: Documented = {
    TOOLS: _header("Who answers: a model (`none`), or the CLI's agent with its tools (`cli`).", enum=[*TOOLS_WORDS]),
    WORKDIR: _header("The folder to work in, an absolute path on the server. It makes the agent answer."),
    APPROVAL: _header("What the agent may do unasked.", enum=[*APPROVAL_MODES]),
    SANDBOX: _header("What the agent's tools may touch.", enum=[*SANDBOX_MODES]),
    SESSION: _header("The session to continue: its id, or a beginning of it that no other has."),
}
ESTIMATE: Documented = {
    USAGE: _header("The tokens of the answer were not counted by anybody.", enum=[ESTIMATED]),
}
ANSWER: Documented = {
    RUN: _header("The id of the run, for `/api/v1/runs/{id}`."),
    SESSION: _header("The id of the session; absent when none is kept."),
    IGNORED: _header("What was asked for and does nothing, by name, separated by commas."),
    **ESTIMATE,
}
"""Those of an answer; in a stream, the last is a comment at its end."""
