"""What docs/deployment.md has one type that needs programs of others: openssl, sqlite3."""

import re
import shutil
from pathlib import Path

import pytest

from services.keys import list_keys
from services.sessions.records import Claim, NewSession
from services.sessions.store import SessionStore
from services.settings import ServerSettings
from tests.support.documents import Block, each_block
from tests.support.guard import REAL_PATH, clean_environment, minimal_bin
from tests.support.shell import printed


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """With the two programs.  Fails, never skips, when they are not installed."""
    programs = ("openssl", "sqlite3")
    lacking = [name for name in programs if not shutil.which(name, path=REAL_PATH)]
    assert not lacking, f"not installed: {lacking}; run `make -C tests/e2e tools`"
    return clean_environment(tmp_path, str(minimal_bin(tmp_path / "bin", programs)))


@each_block()
def test_a_key_is_made(environment: dict[str, str], tmp_path: Path, block: Block) -> None:
    file = tmp_path / "keys"
    file.write_text(printed(block.text, environment, tmp_path))
    (key,) = list_keys(ServerSettings(api_keys_file=str(file)), lambda *_: (1, "", "no gopass"))
    assert re.fullmatch("[0-9a-f]{64}", key)


@each_block()
def test_a_backup_is_a_session_store(environment: dict[str, str], tmp_path: Path, block: Block) -> None:
    """Made while the store is in use."""
    source, target = re.findall(r"/var/[\w./-]+", block.text)
    for path in (source, target):
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
    with SessionStore.open(tmp_path / source[1:]) as store:
        made = store.create(NewSession(backend="claude", title="kept"), Claim("run-1", "worker-1"))
        printed(block.text.replace("/var/", f"{tmp_path}/var/"), environment, tmp_path)
    with SessionStore.open(tmp_path / target[1:]) as copy:
        assert copy.get(made.id, "") == made
