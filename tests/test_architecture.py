"""The direction of imports, and who may start processes."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for room in ("app", "blueprints", "services") for path in (ROOT / room).rglob("*.py"))

LEAVES = {"services.chat", "services.errors", "services.events", "services.settings"}
FORBIDDEN = {
    "services/backends/": ("app", "blueprints", "flask", "gunicorn", "subprocess", "os", "socket", "time", "pathlib"),
    "services/": ("app", "blueprints", "flask", "werkzeug", "gunicorn", "marshmallow"),
    "blueprints/": ("app", "gunicorn"),
    "app/": (),
}
STARTERS = {"subprocess", "pty", "multiprocessing", "_posixsubprocess"}
OS_STARTERS = ("system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "exec", "spawn")
MAY_START = {"services/process.py"}
MAY_EXEC = {"app/cli.py"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_inwards(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    room = next(room for room in FORBIDDEN if name.startswith(room))
    for module in imports(path):
        for banned in FORBIDDEN[room]:
            assert not within(module, banned), f"{name} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_factory_knows_the_blueprints(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("blueprints/") or name == "app/factory.py":
        return
    assert not [module for module in imports(path) if within(module, "blueprints")]


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_leaves_import_only_leaves(leaf: str) -> None:
    path = ROOT / (leaf.replace(".", "/") + ".py")
    for module in imports(path):
        inside = any(within(module, room) for room in ("app", "blueprints", "services"))
        assert not inside or any(within(module, other) for other in LEAVES), f"{leaf} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_engine_starts_processes(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    if name in MAY_START:
        return
    for module in imports(path):
        assert module.split(".")[0] not in STARTERS, f"{name} imports {module}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            starts = node.attr.startswith(OS_STARTERS)
            assert not starts or (name in MAY_EXEC and node.attr.startswith("exec")), f"{name} uses os.{node.attr}"
