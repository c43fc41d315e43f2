"""The extra flags a request may pass to a CLI: an allow list, in every spelling."""

from collections.abc import Iterable, Mapping

from services.errors import ClinvkError, ErrorCode


def check_extra(extra: Iterable[str], allowed: Mapping[str, bool], location: str) -> dict[str, str]:
    """The flags of a request with their values ("" where none follows), each one judged.

    ``allowed`` says for each flag whether a value follows.  Both ``--flag value`` and ``--flag=value`` are understood;
    a bare word that no flag asked for, a value that looks like a flag, and any flag outside the list are refused.
    Raises ClinvkError ``flag_not_allowed``.
    """
    flags: dict[str, str] = {}
    waiting: str | None = None
    for index, word in enumerate(extra):
        here = f"{location}[{index}]"
        if waiting is not None:
            if word.startswith("-"):
                raise _refuse(here, f"{waiting} needs a value, and {word!r} looks like a flag (write {waiting}={word})")
            flags[waiting], waiting = word, None
            continue
        name, has_value, value = word.partition("=")
        if name not in allowed:
            known = ", ".join(allowed) or "none"
            raise _refuse(here, f"{name!r} is not a flag this backend may be given; allowed: {known}")
        if has_value and not allowed[name]:
            raise _refuse(here, f"{name} takes no value")
        flags[name] = value
        if allowed[name] and not has_value:
            waiting = name
    if waiting is not None:
        raise _refuse(location, f"{waiting} needs a value")
    return flags


def _refuse(location: str, message: str) -> ClinvkError:
    return ClinvkError.field(location, message, ErrorCode.FLAG_NOT_ALLOWED)
