"""The API keys: where they come from, and whose a request is."""

from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from services.errors import ClinvkError, ErrorCode
from services.settings import ServerSettings

GOPASS_TIMEOUT_S = 20.0
OWNER_CHARS = 16

Gopass = Callable[[list[str], float], tuple[int, str, str]]
"""Runs gopass to its end: argv and seconds → exit code, stdout, stderr."""


class Keys:
    """The keys that are good.  Without any, the server is open and all is one owner's, ""."""

    def __init__(self, keys: Collection[str]) -> None:
        self._digests = [sha256(key.encode()).hexdigest() for key in keys]

    @property
    def required(self) -> bool:
        """Whether a request needs a key."""
        return bool(self._digests)

    @property
    def owners(self) -> tuple[str, ...]:
        """What stands for each key in records and logs, in the order in which they are configured."""
        return tuple(digest[:OWNER_CHARS] for digest in self._digests)

    def owner_of(self, presented: str) -> str:
        """What stands for the key in records and logs.

        Raises ClinvkError ``unauthorized``.  Takes the same time for every key of the same length, good or bad.
        """
        digest = sha256(presented.encode("utf-8", "surrogateescape")).hexdigest()
        good = [compare_digest(digest, known) for known in self._digests]
        if not any(good):
            message = "an API key is needed: send it as X-Api-Key or as Authorization: Bearer"
            raise ClinvkError(ErrorCode.UNAUTHORIZED, "the API key is not known here" if presented else message)
        return digest[:OWNER_CHARS]


def read_keys(server: ServerSettings, gopass: Gopass) -> Keys:
    """The keys that are good, as :func:`list_keys` finds them.  Raises ClinvkError as that does."""
    return Keys(list_keys(server, gopass))


def list_keys(server: ServerSettings, gopass: Gopass) -> Sequence[str]:
    """The keys of the configuration: from the environment, else from the file, else from gopass.

    A source that is configured but gives no key raises ClinvkError: the server must not be open by accident.
    """
    if server.api_keys:
        return server.api_keys
    if server.api_keys_file:
        where = f"server.api_keys_file {server.api_keys_file}"
        return _listed(_read_file(server.api_keys_file, where), where)
    if server.api_keys_gopass_path:
        where = f"gopass at {server.api_keys_gopass_path}"
        argv = ["gopass", "show", "--password", server.api_keys_gopass_path]
        try:
            code, output, _ = gopass(argv, GOPASS_TIMEOUT_S)
        except ClinvkError as error:
            raise _unreadable(where, error.message) from error
        if code != 0:
            raise _unreadable(where, f"exit code {code}" if code >= 0 else "it did not answer in time")
        return _listed(output.replace(",", "\n"), where)
    return ()


def _read_file(path: str, where: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise _unreadable(where, str(error.strerror)) from error
    except UnicodeDecodeError as error:
        raise _unreadable(where, "it is not UTF-8") from error


def _unreadable(where: str, why: str) -> ClinvkError:
    return ClinvkError(ErrorCode.INTERNAL, f"the API keys cannot be read from {where}: {why}")


def _listed(text: str, where: str) -> list[str]:
    keys = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not keys:
        raise ClinvkError(ErrorCode.INTERNAL, f"there is no API key in {where}")
    return keys
