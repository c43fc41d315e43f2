"""Whether codex is logged in: ``codex login status`` knows of OpenAI's login, and ``config.toml`` may name another.

``login status`` heeds neither a provider of the user's own nor variables: with OPENAI_API_KEY alone, OpenAI's provider
is not logged in.
"""

import tomllib
from collections.abc import Mapping
from typing import Any

from services.backends.codex.failures import VARIABLE_HINT
from services.backends.lenient import mapping, text
from services.backends.login import Evidence, Login, LoginCheck, no_answer

CONFIG = "config.toml"
OPENAI = "openai"
KEY = "OPENAI_API_KEY"
LOGIN_WITH_KEY = f"run `printenv {KEY} | codex login --with-api-key` as the user the server runs as"


def judge(evidence: Evidence) -> Login:
    """What the provider that codex will ask needs."""
    try:
        config = tomllib.loads(evidence.files.get(CONFIG, ""))
    except tomllib.TOMLDecodeError as error:
        return Login(
            False, f"its {CONFIG} cannot be read: {error}", f"mend it: ~/.codex/{CONFIG}, or where CODEX_HOME says"
        )
    name = text(config.get("model_provider")) or OPENAI
    provider = mapping(mapping(config.get("model_providers")).get(name))
    if name == OPENAI or provider.get("requires_openai_auth") is True:
        return _openai(evidence)
    return _other(name, provider, evidence.environment)


def _other(name: str, provider: Mapping[str, Any], environment: Mapping[str, str]) -> Login:
    variable = text(provider.get("env_key"))
    if not variable:
        return Login(None, f"its {CONFIG} names the provider {name!r}, which has no key in a variable")
    if environment.get(variable):
        return Login(True, f"{variable}, for the provider {name!r} of its {CONFIG}")
    return Login(False, f"its {CONFIG} names the provider {name!r}, and {variable} is not set for it", VARIABLE_HINT)


def _openai(evidence: Evidence) -> Login:
    said = (evidence.output + evidence.errors).lower()
    if evidence.exit_code == 0:
        return Login(True, "an account of ChatGPT" if "chatgpt" in said else "an API key that it keeps")
    if "not logged in" in said and evidence.environment.get(KEY):
        return Login(False, f"`codex login status` says so; it heeds no {KEY} by itself", LOGIN_WITH_KEY)
    if "not logged in" in said:
        return Login(False, "`codex login status` says so")
    return no_answer(evidence)


LOGIN_CHECK = LoginCheck(
    judge,
    args=("login", "status"),
    files=(CONFIG,),
    home_variable="CODEX_HOME",
    usual_home=".codex",
    read_at_start=("auth.json", "AGENTS.md", "AGENTS.override.md"),
)
