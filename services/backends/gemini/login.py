"""Whether gemini is logged in.  It has no command for that: its settings say how, and a key or a file that it can.

Which way it takes without a setting is that of ``session/new`` (gemini 0.61.0, ``packages/cli/src/acp``), and what each
way needs that of ``validateAuthMethod`` there.
"""

from services.backends.lenient import mapping, parse_commented, text
from services.backends.login import Evidence, Login, LoginCheck, assignments

SETTINGS = ".gemini/settings.json"
OAUTH = ".gemini/oauth_creds.json"
KEPT = ".gemini/gemini-credentials.json"
"""What it keeps where there is no keyring: encrypted, and not to be told apart from here."""
MEMORY = ".gemini/GEMINI.md"
DOTENV = (".gemini/.env", ".env")
"""The first that is there counts."""

BASE_URL = "GOOGLE_GEMINI_BASE_URL"
PROJECT = ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION")
NEEDED_BY_VERTEX = f"set GOOGLE_API_KEY, or {' and '.join(PROJECT)}, for the server"


def judge(evidence: Evidence) -> Login:
    """What the chosen way to log in lacks."""
    variables = {**_dotenv(evidence), **evidence.environment}
    settings = parse_commented(evidence.files.get(SETTINGS, "{}"))
    if settings is None:
        return Login(False, f"its settings, ~/{SETTINGS}, are no JSON", "mend them")
    chosen = text(mapping(mapping(settings.get("security")).get("auth")).get("selectedType"))
    match chosen or ("gateway" if variables.get(BASE_URL) else "gemini-api-key"):
        case "gemini-api-key":
            if variables.get("GEMINI_API_KEY"):
                return Login(True, "an API key (GEMINI_API_KEY)")
            if KEPT in evidence.files:
                return Login(True, "a key that it keeps")
            return Login(False, "it has no API key: GEMINI_API_KEY is not set for it")
        case "oauth-personal":
            kept = OAUTH in evidence.files or KEPT in evidence.files
            return (
                Login(True, "a Google account") if kept else Login(False, "it is to use a Google account and has none")
            )
        case "vertex-ai":
            if variables.get("GOOGLE_API_KEY"):
                return Login(True, "Vertex AI (GOOGLE_API_KEY)")
            if all(variables.get(name) for name in PROJECT):
                return Login(True, f"Vertex AI ({' and '.join(PROJECT)})")
            return Login(False, "it is to use Vertex AI and lacks what that needs", NEEDED_BY_VERTEX)
        case "gateway":
            return Login(True, f"the gateway that {BASE_URL} names")
        case other:
            return Login(None, f"its settings say {other!r}, which it alone can judge")


def _dotenv(evidence: Evidence) -> dict[str, str]:
    return next((assignments(evidence.files[name]) for name in DOTENV if name in evidence.files), {})


LOGIN_CHECK = LoginCheck(
    judge, files=(SETTINGS, OAUTH, KEPT, *DOTENV), home_variable="GEMINI_CLI_HOME", read_at_start=(MEMORY,)
)
