"""The environment a CLI gets: an allow list, never the server's own.

A CLI's agent can print its environment, so nothing that is the server's business may be in it: no variable of
clinvk, no key of another provider.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping

COMMON = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "XDG_*",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_*",
)  # fmt: skip
"""What every CLI may know: where it is, how to speak, how to reach the network."""

OURS = "CLINVK_"
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)


def allowed(name: str, patterns: Iterable[str]) -> bool:
    """Whether a variable is named by one of the patterns (a name, or a prefix ending in ``*``)."""
    if name.startswith(OURS):
        return False
    return any(name.startswith(p[:-1]) if p.endswith("*") else name == p for p in patterns)


def child_environment(base: Mapping[str, str], patterns: Iterable[str]) -> dict[str, str]:
    """The part of ``base`` that a CLI may inherit: the common variables and those the patterns name."""
    wanted = (*COMMON, *patterns)
    return {name: value for name, value in base.items() if allowed(name, wanted)}


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values that must never be shown, longest first."""
    values = {value for name, value in environment.items() if SECRET_NAME.search(name) and len(value) >= 8}
    return tuple(sorted(values, key=len, reverse=True))


_LOOKS_SECRET = re.compile(
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{12,}"
    r"|\bAIza[A-Za-z0-9_-]{20,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{12,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+"
)


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with the given values, and whatever looks like a key, replaced by ``***``."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return _LOOKS_SECRET.sub("***", text)


def find_program(name: str, environment: Mapping[str, str]) -> str | None:
    """The path of a program by an environment's PATH; None when it is not there or not executable."""
    return shutil.which(name, path=environment.get("PATH", os.defpath))
