"""Whether claude is logged in: ``claude auth status`` says so without asking its provider."""

from services.backends.lenient import parse_object, text
from services.backends.login import Evidence, Login, LoginCheck, no_answer

METHODS = {
    "claude.ai": "an account of claude.ai",
    "oauth_token": "a token in its environment",
    "api_key": "an API key",
    "api_key_helper": "the key helper of its settings",
    "third_party": "another provider",
}
"""What it calls the ways to log in, in words that go with "by"."""


def judge(evidence: Evidence) -> Login:
    """What its JSON says."""
    status = parse_object(evidence.output.encode())
    if status is None or not isinstance(status.get("loggedIn"), bool):
        return no_answer(evidence)
    if not status["loggedIn"]:
        return Login(False, "`claude auth status` says so")
    method = text(status.get("authMethod"))
    source = text(status.get("apiKeySource")) or (text(status.get("apiProvider")) if method == "third_party" else "")
    return Login(True, METHODS.get(method, method) + (f" ({source})" if source else ""))


LOGIN_CHECK = LoginCheck(
    judge,
    args=("auth", "status", "--json"),
    home_variable="CLAUDE_CONFIG_DIR",
    usual_home=".claude",
    read_at_start=(".credentials.json", "settings.json"),
)
