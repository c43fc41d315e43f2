"""What ``extra`` may ask of the real backends: the flags that each takes, what they obey, and the attempts at more."""

from collections.abc import Mapping

import pytest

from services.backends import create_backends
from services.errors import ClinvkError, ErrorCode
from services.planning import Planner
from services.prompts import Prompt
from services.settings import BackendSettings, ServerSettings, UnifiedFlags

CAPPED = ServerSettings(
    allowed_approval_modes=("default", "always"), allowed_sandbox_modes=("default", "read-only", "workspace")
)
NAMES = ("claude", "codex", "gemini")


def refusal(
    backend: str,
    *extra: str,
    server: ServerSettings | None = None,
    settings: Mapping[str, BackendSettings] | None = None,
) -> ErrorCode | None:
    """Why a prompt with these flags is not run; None when it is."""
    configured = {name: BackendSettings() for name in NAMES} | dict(settings or {})
    planner = Planner(create_backends(configured), configured, UnifiedFlags(), server or ServerSettings())
    try:
        planner.plan(Prompt(backend, "hello", extra=extra))
    except ClinvkError as error:
        return error.code if error.problems[0].location.startswith("extra") else None
    return None


UNDOING = {
    "claude": (
        "--resume x", "-r x", "--continue", "-c", "--add-dir /", "--add-dir=/", "--dangerously-skip-permissions",
        "--settings {}", "--settings={}", "--mcp-config x", "--output-format text", "--input-format=text", "--help",
        "--version", "--session-id x", "--fork-session", "--permission-prompt-tool x", "--tools default", "--model",
        "--verbose --resume", "--verbose=--resume", "--allow-dangerously-skip-permissions", "--setting-sources user",
    ),
    "codex": (
        "-c approval_policy=never", "--config x=y", "-s danger-full-access", "--add-dir /", "--yolo", "--full-auto",
        "--dangerously-bypass-approvals-and-sandbox", "--ask-for-approval never", "-a never", "--cd /", "-C /",
        "--image /etc/passwd", "--enable x", "--skip-git-repo-check", "--oss", "--search", "--help", "resume",
        "--output-last-message /tmp/x",
    ),
    "gemini": (
        "--yolo", "-y", "--yolo=true", "--approval-mode", "--include-directories /", "--resume latest", "-r 1", "-p x",
        "--prompt x", "--prompt-interactive=x", "--output-format json", "-o text", "--session-file /etc/passwd",
        "--extensions x", "--allowed-tools x", "--policy x", "--skip-trust", "--help", "--debug=true", "--sandbox",
    ),
}  # fmt: skip
SPELLINGS = (str, str.upper, str.title, lambda word: word.replace("-", "\u2010"), lambda word: word.replace("-", "_"))


@pytest.mark.parametrize("backend", NAMES)
def test_what_undoes_another_rule_is_refused_in_any_spelling(backend: str) -> None:
    for words in UNDOING[backend]:
        for spelled in (*(spell(words) for spell in SPELLINGS), f" {words}", f"{words}\n", f"\u200b{words}"):
            for extra in (tuple(spelled.split(" ")), (spelled,)):
                assert refusal(backend, *extra) is ErrorCode.FLAG_NOT_ALLOWED, extra


WIDENING = {
    "claude": (
        "--permission-mode bypassPermissions", "--permission-mode=bypassPermissions", "--permission-mode=dontAsk",
        "--permission-mode=acceptEdits", "--permission-mode=plan", "--permission-mode=", "--permission-mode=DEFAULT",
        "--permission-mode default --permission-mode bypassPermissions",
        "--permission-mode=bypassPermissions --permission-mode=default",
        "--allowed-tools Bash", "--allowed-tools=Bash", "--allowedTools Bash", "--allowedTools=Read",
    ),
    "codex": (
        "--sandbox danger-full-access", "--sandbox=danger-full-access", "--sandbox= danger-full-access",
        "--sandbox read-only --sandbox danger-full-access", "--sandbox=danger-full-access --sandbox=read-only",
        "--profile mine",
    ),
    "gemini": (
        "--approval-mode yolo", "--approval-mode=yolo", "--approval-mode=auto_edit", "--approval-mode=YOLO",
        "--approval-mode default --approval-mode yolo",
    ),
}  # fmt: skip


@pytest.mark.parametrize("backend", NAMES)
def test_flags_do_not_widen_what_is_capped(backend: str) -> None:
    for words in WIDENING[backend]:
        assert refusal(backend, *words.split(" "), server=CAPPED) in {
            ErrorCode.NOT_PERMITTED,
            ErrorCode.FLAG_NOT_ALLOWED,
        }, words


@pytest.mark.parametrize(
    ("backend", "words"),
    [("claude", "--permission-mode default"), ("codex", "--sandbox=read-only"), ("gemini", "--approval-mode default")],
)
def test_what_is_permitted_may_be_asked_for_by_a_flag_too(backend: str, words: str) -> None:
    assert refusal(backend, *words.split(" "), server=CAPPED) is None


@pytest.mark.parametrize("capped", [{"allowed_approval_modes": ("auto",)}, {"allowed_sandbox_modes": ("full",)}])
def test_a_cap_of_one_kind_is_a_cap(capped: Mapping[str, tuple[str, ...]]) -> None:
    """The two kinds have a word in common."""
    assert (
        refusal("claude", "--permission-mode=bypassPermissions", server=ServerSettings(**capped))  # type: ignore[arg-type]
        is ErrorCode.NOT_PERMITTED
    )
    without_default = ServerSettings(allowed_approval_modes=("auto", "none", "always"))
    assert refusal("claude", "--permission-mode=plan", server=without_default) is ErrorCode.NOT_PERMITTED


@pytest.mark.parametrize("flag", ["--allowed-tools", "--allowedTools"])
@pytest.mark.parametrize("allowed", [(), ("Read",), ("Bash(git *)",)])
def test_tools_that_the_configuration_has_chosen_are_not_widened(flag: str, allowed: tuple[str, ...]) -> None:
    settings = {"claude": BackendSettings(allowed_tools=allowed)}
    assert refusal("claude", f"{flag}=Bash", settings=settings) is ErrorCode.NOT_PERMITTED
    assert refusal("claude", flag, "mcp__spy__run", settings=settings) is ErrorCode.NOT_PERMITTED
    assert refusal("claude", "--disallowed-tools=Bash", settings=settings) is None
    assert refusal("claude", f"{flag}=Bash") is None
