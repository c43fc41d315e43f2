"""The unit of ``deploy/``, judged by systemd's own tools."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.guard import REAL_PATH, ROOT

UNIT = ROOT / "deploy" / "clinvk.service"
EXPOSURE = 30
"""In tenths, from 0 to 100: systemd-analyze calls up to 5.0 "medium", up to 3.0 "OK"."""


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze", path=REAL_PATH)
    assert program, "not installed: run `make -C tests/e2e systemd`"
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_systemd_has_nothing_to_say_against_it(tmp_path: Path) -> None:
    """The program and its user exist only where it is installed; all else is as it stands."""
    text = UNIT.read_text()
    for ours, theirs in {"/opt/clinvk/bin/clinvk": "/bin/true", "=clinvk\nGroup=clinvk": "=root\nGroup=root"}.items():
        assert ours in text
        text = text.replace(ours, theirs)
    (tmp_path / UNIT.name).write_text(text)
    done = analyze("verify", "--man=no", str(tmp_path / UNIT.name))
    assert (done.returncode, done.stdout, [line for line in done.stderr.splitlines() if UNIT.name in line]) == (
        0,
        "",
        [],
    )


@pytest.mark.parametrize(("most", "code"), [(EXPOSURE, 0), (1, 1)], ids=["as it is", "the witness"])
def test_it_exposes_little(most: int, code: int) -> None:
    done = analyze("security", "--offline=true", "--no-pager", f"--threshold={most}", str(UNIT))
    assert done.returncode == code, done.stdout
