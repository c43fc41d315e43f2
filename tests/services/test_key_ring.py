import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from services.errors import ClinvkError, ErrorCode
from services.key_ring import KeyRing
from services.keys import Keys, read_keys
from services.settings import ServerSettings
from tests.support.waiting import wait_until


def of_file(path: Path) -> Callable[[], Keys]:
    return lambda: read_keys(ServerSettings(api_keys_file=str(path)), lambda *_: (1, "", ""))


def knows(ring: KeyRing, key: str) -> bool:
    try:
        return bool(ring.owner_of(key))
    except ClinvkError as error:
        return error.code is not ErrorCode.UNAUTHORIZED


def test_a_key_can_be_added_and_withdrawn_while_the_server_runs(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("old\n")
    ring = KeyRing(of_file(file), every_s=0.01)
    ring.start()
    assert knows(ring, "old")
    file.write_text("new\n")
    wait_until(lambda: knows(ring, "new"))
    assert not knows(ring, "old")
    ring.close()


def test_a_source_that_fails_later_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys"
    file.write_text("good\n")
    ring = KeyRing(of_file(file), every_s=0.01)
    ring.start()
    with caplog.at_level(logging.ERROR):
        file.unlink()
        wait_until(lambda: "the last good keys stay" in caplog.text)
        assert knows(ring, "good")
        assert not knows(ring, "")
        file.write_text("# nobody any more\n")
        wait_until(lambda: "there is no API key in" in caplog.text)
    assert knows(ring, "good")
    assert ring.required
    ring.close()


def test_a_source_that_fails_at_first_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClinvkError):
        KeyRing(of_file(tmp_path / "missing"))


def test_while_a_source_hangs_the_last_good_keys_are_in_force() -> None:
    asked, released = threading.Event(), threading.Event()

    def read() -> Keys:
        if asked.is_set():
            return Keys(["later"])
        if reads.pop():
            return Keys(["good"])
        asked.set()
        released.wait()
        raise ClinvkError(ErrorCode.INTERNAL, "gopass did not answer in time")

    reads = [False, True]
    ring = KeyRing(read, every_s=0.01)
    ring.start()
    assert asked.wait(10)
    assert knows(ring, "good")
    assert not knows(ring, "later")
    released.set()
    wait_until(lambda: knows(ring, "later"))
    ring.close()
