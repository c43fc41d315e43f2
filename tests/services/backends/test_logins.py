"""What is made of the signs of a login; the outputs are what the CLIs printed (claude 2.1.197, codex 0.169.0)."""

import json

import pytest

from services.backends.claude import ClaudeBackend
from services.backends.codex import CodexBackend
from services.backends.codex.failures import VARIABLE_HINT
from services.backends.codex.login import LOGIN_WITH_KEY
from services.backends.demo import DemoBackend
from services.backends.gemini import GeminiBackend
from services.backends.gemini.login import NEEDED_BY_VERTEX
from services.backends.login import Evidence, Login, assignments

CLAUDE, CODEX, GEMINI = ClaudeBackend.login_check, CodexBackend.login_check, GeminiBackend.login_check
assert CLAUDE
assert CODEX
assert GEMINI

ENV_KEY = '[model_providers.mine]\nname = "mine"\nenv_key = "MY_KEY"\n'


def claude(exit_code: int = 0, **status: object) -> Evidence:
    return Evidence(exit_code=exit_code, output=json.dumps({"apiProvider": "firstParty", **status}, indent=2))


@pytest.mark.parametrize(
    ("evidence", "login"),
    [
        (claude(1, loggedIn=False, authMethod="none"), Login(False, "`claude auth status` says so")),
        (
            claude(loggedIn=True, authMethod="api_key", apiKeySource="ANTHROPIC_API_KEY"),
            Login(True, "an API key (ANTHROPIC_API_KEY)"),
        ),
        (claude(loggedIn=True, authMethod="oauth_token"), Login(True, "a token in its environment")),
        (claude(loggedIn=True, authMethod="claude.ai"), Login(True, "an account of claude.ai")),
        (
            claude(loggedIn=True, authMethod="third_party", apiProvider="bedrock"),
            Login(True, "another provider (bedrock)"),
        ),
        (claude(loggedIn=True, authMethod="telepathy"), Login(True, "telepathy")),
        (
            Evidence(exit_code=1, errors="one\nerror: unknown command 'auth'\n"),
            Login(None, "it could not tell (exit code 1) error: unknown command 'auth'"),
        ),
        (Evidence(exit_code=-1), Login(None, "it did not answer in time when asked for its login")),
        (Evidence(output='{"loggedIn": "yes"}'), Login(None, 'it could not tell (exit code 0) {"loggedIn": "yes"}')),
    ],
)
def test_claude(evidence: Evidence, login: Login) -> None:
    assert CLAUDE.judge(evidence) == login


@pytest.mark.parametrize(
    ("evidence", "login"),
    [
        (
            Evidence(exit_code=1, errors="WARNING: proceeding\nNot logged in\n"),
            Login(False, "`codex login status` says so"),
        ),
        (
            Evidence({"OPENAI_API_KEY": "k"}, exit_code=1, errors="Not logged in\n"),
            Login(False, "`codex login status` says so; it heeds no OPENAI_API_KEY by itself", LOGIN_WITH_KEY),
        ),
        (Evidence(errors="API key configured - sk-dummy***56789\n"), Login(True, "an API key that it keeps")),
        (Evidence(errors="Logged in using ChatGPT\n"), Login(True, "an account of ChatGPT")),
        (Evidence(exit_code=2, errors="error: usage"), Login(None, "it could not tell (exit code 2) error: usage")),
        (
            Evidence(
                {"MY_KEY": "secret"}, {"config.toml": f'model_provider = "mine"\n{ENV_KEY}'}, 1, "", "Not logged in"
            ),
            Login(True, "MY_KEY, for the provider 'mine' of its config.toml"),
        ),
        (
            Evidence({}, {"config.toml": f'model_provider = "mine"\n{ENV_KEY}'}),
            Login(False, "its config.toml names the provider 'mine', and MY_KEY is not set for it", VARIABLE_HINT),
        ),
        (
            Evidence({}, {"config.toml": 'model_provider = "local"\n[model_providers.local]\nname = "local"'}),
            Login(None, "its config.toml names the provider 'local', which has no key in a variable"),
        ),
        (
            Evidence(
                {},
                {"config.toml": f'model_provider = "mine"\n{ENV_KEY}requires_openai_auth = true'},
                1,
                "",
                "Not logged in",
            ),
            Login(False, "`codex login status` says so"),
        ),
        (
            Evidence({"MY_KEY": "secret"}, {"config.toml": ENV_KEY}, 1, "", "Not logged in"),
            Login(False, "`codex login status` says so"),
        ),
        (Evidence({}, {"config.toml": "model_provider = 7"}), Login(True, "an API key that it keeps")),
    ],
)
def test_codex(evidence: Evidence, login: Login) -> None:
    assert CODEX.judge(evidence) == login


def test_codex_with_a_configuration_that_is_none() -> None:
    login = CODEX.judge(Evidence({}, {"config.toml": "model_provider ="}))
    assert login.good is False
    assert login.how.startswith("its config.toml cannot be read: ")


def settings(kind: str) -> dict[str, str]:
    return {".gemini/settings.json": json.dumps({"security": {"auth": {"selectedType": kind}}}) + " // mine"}


@pytest.mark.parametrize(
    ("environment", "files", "login"),
    [
        ({}, {}, Login(False, "it has no API key: GEMINI_API_KEY is not set for it")),
        ({"GEMINI_API_KEY": "k"}, {}, Login(True, "an API key (GEMINI_API_KEY)")),
        (
            {"GEMINI_API_KEY": ""},
            settings("gemini-api-key"),
            Login(False, "it has no API key: GEMINI_API_KEY is not set for it"),
        ),
        ({}, {".gemini/.env": "export GEMINI_API_KEY='k'\n", ".env": ""}, Login(True, "an API key (GEMINI_API_KEY)")),
        (
            {},
            {".gemini/.env": "", ".env": "GEMINI_API_KEY=k"},
            Login(False, "it has no API key: GEMINI_API_KEY is not set for it"),
        ),
        ({}, {".gemini/gemini-credentials.json": "x"}, Login(True, "a key that it keeps")),
        ({}, settings("oauth-personal"), Login(False, "it is to use a Google account and has none")),
        (
            {"GEMINI_API_KEY": "k"},
            settings("oauth-personal"),
            Login(False, "it is to use a Google account and has none"),
        ),
        ({}, {**settings("oauth-personal"), ".gemini/oauth_creds.json": "{}"}, Login(True, "a Google account")),
        ({"GOOGLE_API_KEY": "k"}, settings("vertex-ai"), Login(True, "Vertex AI (GOOGLE_API_KEY)")),
        (
            {"GOOGLE_CLOUD_PROJECT": "p", "GOOGLE_CLOUD_LOCATION": "l"},
            settings("vertex-ai"),
            Login(True, "Vertex AI (GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION)"),
        ),
        (
            {"GOOGLE_CLOUD_PROJECT": "p"},
            settings("vertex-ai"),
            Login(False, "it is to use Vertex AI and lacks what that needs", NEEDED_BY_VERTEX),
        ),
        ({"GOOGLE_GEMINI_BASE_URL": "http://g"}, {}, Login(True, "the gateway that GOOGLE_GEMINI_BASE_URL names")),
        ({}, settings("cloud-shell"), Login(None, "its settings say 'cloud-shell', which it alone can judge")),
        (
            {},
            {".gemini/settings.json": "{"},
            Login(False, "its settings, ~/.gemini/settings.json, are no JSON", "mend them"),
        ),
        (
            {"GEMINI_API_KEY": "k"},
            {".gemini/settings.json": '{"security": []}'},
            Login(True, "an API key (GEMINI_API_KEY)"),
        ),
    ],
)
def test_gemini(environment: dict[str, str], files: dict[str, str], login: Login) -> None:
    assert GEMINI.judge(Evidence(environment, files)) == login


def test_the_demo_needs_none() -> None:
    assert DemoBackend.login_check is not None
    assert DemoBackend.login_check.judge(Evidence()).good is True


def test_assignments_of_a_file() -> None:
    text = "# A=1\nB = 2 \n export C='x y'\nD=\nE=\"\"\nnot one\n"
    assert assignments(text) == {"B": "2", "C": "x y"}
