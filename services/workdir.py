"""Where a run may work."""

from collections.abc import Iterable
from pathlib import Path

from services.errors import ClinvkError, ErrorCode


def resolve_workdir(path: str, *, location: str, allowed: Iterable[str], blocked: Iterable[str]) -> str:
    """The folder that a request names, symbolic links resolved.

    It must be absolute, exist, be a folder, not be ``/``, lie under no blocked prefix and, when there are allowed ones,
    under one of those.  Raises ClinvkError ``workdir_not_allowed``.
    """

    def refuse(reason: str) -> ClinvkError:
        return ClinvkError.field(location, reason, ErrorCode.WORKDIR_NOT_ALLOWED)

    if not Path(path).is_absolute():
        raise refuse("must be an absolute path")
    try:
        real = Path(path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # missing, unreadable, a loop of links, a NUL byte
        raise refuse("does not exist on the server") from None
    if not real.is_dir():
        raise refuse("is not a folder")
    if real == Path("/"):
        raise refuse("must not be the root folder")
    if any(real.is_relative_to(Path(prefix).resolve()) for prefix in blocked):
        raise refuse("lies in a folder that the server blocks (server.blocked_workdir_prefixes, and its own)")
    permitted = [Path(prefix).resolve() for prefix in allowed]
    if permitted and not any(real.is_relative_to(prefix) for prefix in permitted):
        raise refuse("lies outside the folders that the server allows (server.allowed_workdir_prefixes)")
    return str(real)
