"""docs/backends.md on adding a backend in code, done as it says: recorded, written, tested, run."""

import ast
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

import pytest

from services.backends import BUILT_IN, create_backends
from services.backends.base import Backend
from services.deadline import Deadline
from services.events import Done, TokenUsage
from services.prompts import Prompt
from tests.app.config.reading import read
from tests.support import guard
from tests.support.documents import Block, all_blocks
from tests.support.scripts import script_runs
from tests.test_architecture import FORBIDDEN, imported_by, within

PROGRAM = """#!/bin/sh
test "$*" = "--json --model grey" && test "$(cat)" = "Hello!" && cat {recording}
"""


def load(name: str, path: Path) -> ModuleType:
    """The file as a module of this name."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@all_blocks
def test_a_backend_is_added_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: list[Block]
) -> None:
    recorded, written, tested = blocks
    recording = tmp_path / "tests" / "recordings" / "parrot" / "1.0" / "hello.stdout"
    recording.parent.mkdir(parents=True)
    recording.write_text(recorded.text)
    for name, block in (("parrot.py", written), ("test_parrot.py", tested)):
        (tmp_path / name).write_text(block.text)

    assert [*filter(is_forbidden, imported_by(ast.parse(written.text)))] == []
    parrot = load("services.backends.parrot", tmp_path / "parrot.py")
    monkeypatch.setitem(sys.modules, parrot.__name__, parrot)
    monkeypatch.setattr(guard, "ROOT", tmp_path)  # where the page's test looks for its recording
    tests = load("test_parrot", tmp_path / "test_parrot.py")
    names = [name for name, test in inspect.getmembers(tests, inspect.isfunction) if name.startswith("test_")]
    assert len(names) == 4
    for name in names:
        getattr(tests, name)()

    monkeypatch.setitem(BUILT_IN, "parrot", parrot.ParrotBackend)
    config = read(tmp_path, "", {"CLINVK_PARROT_MODEL": "grey"})
    assert config.backends["parrot"].model == "grey"
    runs_and_answers(create_backends(config.backends)["parrot"], recording, tmp_path)


def is_forbidden(module: str) -> bool:
    return within(module, FORBIDDEN["services/backends/"])


def runs_and_answers(backend: Backend, recording: Path, folder: Path) -> None:
    """With a program in the CLI's place that insists on what it is told."""
    program = folder / "bin" / "parrot"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(recording=recording))
    program.chmod(0o755)
    runs = script_runs(backend, folder, environment={"PATH": f"{program.parent}:/usr/bin:/bin", "HOME": str(folder)})
    try:
        plan = runs.check(Prompt("parrot", "Hello!", model="grey", max_turns=3))
        result = runs.start(plan, deadline=Deadline.after(0)).collect()
    finally:
        runs.close()
    assert (result.output, result.outcome) == ("Hello! Hello!", Done(TokenUsage(2, 4)))
    assert plan.warnings == ("max_turns: parrot has no such thing",)
