"""A PostgreSQL server of Debian's package, with all that it has in one temporary folder."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

INSTALLED = Path("/usr/lib/postgresql")
SETTINGS = {"listen_addresses": "", "fsync": "off", "max_connections": "200"}


def programs() -> Path:
    """The folder of the server's programs.  Fails, never skips, when they are not installed."""
    found = sorted(INSTALLED.glob("*/bin/initdb"))
    if not found:
        pytest.fail("PostgreSQL is not installed: apt-get install postgresql", pytrace=False)
    return found[-1].parent


class PostgresServer:
    """A server that listens on a socket file only.  Runs as ``nobody`` for root, whom it refuses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._user = "nobody" if os.geteuid() == 0 else None
        self._bin = programs()
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "--username=clinvk", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = " ".join(f"-c {name}='{value}'" for name, value in SETTINGS.items())
        log = self._folder / "log"
        self._run("pg_ctl", "start", "--wait", f"--log={log}", f"--options={options} -k {self._folder}")

    def stop(self) -> None:
        """Stop, and close all connections."""
        self._run("pg_ctl", "stop", "--wait", "--mode=fast")

    def url(self, name: str, user: str = "clinvk") -> str:
        """The URL of a database."""
        return f"postgresql://{user}@/{name}?host={self._folder}"

    def create_database(self, name: str) -> str:
        """A new database whose order of words is not that of the bytes; returns its URL."""
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Carry out one statement, as the administrator."""
        url = self.url(database).replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()

    def _run(self, program: str, *arguments: str) -> None:
        with (self._folder / "output").open("ab") as output:  # no pipe: the server would hold it open
            done = subprocess.run(
                [self._bin / program, f"--pgdata={self._data}", *arguments],
                user=self._user,
                group="nogroup" if self._user else None,
                cwd=self._folder,
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=60,
            )
        if done.returncode:
            texts = [path.read_text() for path in (self._folder / "output", self._folder / "log") if path.exists()]
            raise AssertionError(f"{program} failed:\n{''.join(texts)}")


@contextmanager
def running_postgresql() -> Iterator[PostgresServer]:
    """A server that has been started.  Its folder is not pytest's, which only root could enter."""
    with tempfile.TemporaryDirectory(prefix="clinvk-pg-") as name:
        server = PostgresServer(Path(name))
        server.start()
        try:
            yield server
        finally:
            server.stop()
