"""How much memory is left, as the kernel's files tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.memory import available_bytes

GIB = 1 << 30


def machine(folder: Path, available_gib: int | None) -> Path:
    told = "" if available_gib is None else f"MemAvailable:   {available_gib * GIB // 1024} kB\n"
    (folder / "meminfo").write_text(f"MemTotal:       99999999 kB\n{told}SwapFree:        0 kB\n")
    return folder / "meminfo"


def group(folder: Path, limit: str, used_gib: int, cache_gib: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used_gib * GIB}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cache_gib * GIB}\nactive_file 7\n")


@pytest.mark.parametrize(
    ("own", "outer", "left_gib"),
    [
        (("max", 2), ("max", 5), 8),
        ((str(4 * GIB), 2), ("max", 5), 2),
        ((str(4 * GIB), 3, 2), ("max", 5), 3),
        ((str(40 * GIB), 2), (str(6 * GIB), 5), 1),
        ((str(4 * GIB), 5), ("max", 5), 0),
    ],
)
def test_the_least_that_is_left_anywhere_counts(
    tmp_path: Path, own: tuple[str, int], outer: tuple[str, int], left_gib: int
) -> None:
    (tmp_path / "cgroup").write_text("1:cpu:/elsewhere\n0::/system/clinvk\n")
    group(tmp_path / "fs" / "system" / "clinvk", *own)
    group(tmp_path / "fs" / "system", *outer)
    assert available_bytes(machine(tmp_path, 8), tmp_path / "cgroup", tmp_path / "fs") == left_gib * GIB


def test_without_groups_the_machine_counts(tmp_path: Path) -> None:
    assert available_bytes(machine(tmp_path, 3), tmp_path / "none", tmp_path / "fs") == 3 * GIB


def test_what_nobody_tells_is_not_known(tmp_path: Path) -> None:
    assert available_bytes(machine(tmp_path, None), tmp_path / "none", tmp_path / "fs") is None


def test_this_machine_has_some() -> None:
    left = available_bytes()
    assert left is not None
    assert left > 1 << 20
