"""What can be wrong with the database, in words that say what to do."""

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError, TimeoutError

from services.errors import ClinvkError, ErrorCode

RETRY_AFTER_S = 5


class StoreError(ClinvkError):
    """The session store cannot be used: a run can go on, but nothing of it is recorded.

    ``passing`` says that it may mend itself (a lock, a full disk), so that a request that needs the store can be
    repeated; else somebody has to put it right.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        if passing:
            super().__init__(ErrorCode.OVERLOADED, message, retry_after_s=RETRY_AFTER_S)
        else:
            super().__init__(ErrorCode.INTERNAL, message)
        self.passing = passing


_SQLITE = {
    "SQLITE_BUSY": "is locked by another process",
    "SQLITE_LOCKED": "is locked by another process",
    "SQLITE_READONLY": "is read-only: the user of the server must be able to write the file and its folder",
    "SQLITE_FULL": "cannot grow: the disk is full",
    "SQLITE_IOERR": "cannot be read or written: the disk reports an error or is full",
    "SQLITE_CANTOPEN": "cannot be opened: look at the permissions of the file and its folder",
    "SQLITE_NOTADB": "is not a SQLite database: move the file away, or name another one",
    "SQLITE_CORRUPT": "is damaged: restore it from a copy, or move it away",
}

_POSTGRESQL = {
    "25006": "is read-only",
    "28": "refuses the user or the password of session.database_url",
    "3D": "does not exist: create it",
    "42501": "does not let its user create or change tables",
    "53100": "cannot grow: the disk is full",
    "53300": "has no connection left",
    "55P03": "is locked by another process",
    "57014": "does not answer in time",
    "57P": "is shutting down or starting",
}


def explain(error: SQLAlchemyError | sqlite3.Error, name: str) -> StoreError:
    """The error in our words.  It quotes no values of a statement: they may be a prompt's."""
    return StoreError(f"the session database {name} {_trouble(error)}", passing=not _is_lasting(error))


_LASTING_SQLITE = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
_LASTING_POSTGRESQL = ("28", "3D", "42501")


def _is_lasting(error: SQLAlchemyError | sqlite3.Error) -> bool:
    origin = _origin(error)
    state = str(getattr(origin, "sqlstate", None) or "")
    return _sqlite_name(origin).startswith(_LASTING_SQLITE) or state.startswith(_LASTING_POSTGRESQL)


def is_locked(error: StoreError) -> bool:
    """Whether SQLite said that somebody else has locked the file."""
    return _sqlite_name(_origin(error.__cause__)).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _origin(error: BaseException | None) -> BaseException | None:
    """The driver's own error."""
    return error.orig if isinstance(error, DBAPIError) else error


def _sqlite_name(origin: BaseException | None) -> str:
    return str(getattr(origin, "sqlite_errorname", ""))


def _trouble(error: SQLAlchemyError | sqlite3.Error) -> str:
    if isinstance(error, TimeoutError):
        return "is too busy: all its connections are in use"
    origin = _origin(error)
    sqlite_name = _sqlite_name(origin)
    for prefix, trouble in _SQLITE.items():
        if sqlite_name.startswith(prefix):
            return trouble
    state = str(getattr(origin, "sqlstate", None) or "")
    for prefix, trouble in _POSTGRESQL.items():
        if state.startswith(prefix):
            return trouble
    if isinstance(error, OperationalError | InterfaceError) and not sqlite_name and not state:
        return "cannot be reached: is the server running, and is session.database_url right?"
    return f"cannot be used ({sqlite_name or state or type(origin).__name__}: {_first_line(origin)})"


def _first_line(error: BaseException | None) -> str:
    return (str(error).splitlines() or [""])[0][:200]
