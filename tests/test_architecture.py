"""The direction of imports, and who may start processes."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("app", "blueprints", "services")


@cache
def sources() -> dict[str, ast.Module]:
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in paths}


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


def imports(name: str) -> Iterator[str]:
    return imported_by(sources()[name])


def imported_by(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def uses_of_os(name: str) -> Iterator[str]:
    for node in ast.walk(sources()[name]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            yield node.attr


def test_the_whole_house_is_looked_at() -> None:
    assert {"services/process.py", "blueprints/gate.py", "app/factory.py"} < sources().keys()


def test_imports_are_absolute() -> None:
    assert [name for name in sources() for module in imports(name) if module.startswith(".")] == []


def test_imports_point_inwards() -> None:
    found = []
    for name in sources():
        banned = next(banned for room, banned in FORBIDDEN.items() if name.startswith(room))
        found += [f"{name} imports {module}" for module in imports(name) if within(module, banned)]
    assert found == []


def test_only_the_factory_knows_the_blueprints() -> None:
    others = [name for name in sources() if not name.startswith("blueprints/") and name != "app/factory.py"]
    assert [name for name in others for module in imports(name) if within(module, ["blueprints"])] == []


def test_leaves_import_only_leaves() -> None:
    found = []
    for leaf in LEAVES:
        ours = [module for module in imports(leaf.replace(".", "/") + ".py") if within(module, ROOMS)]
        found += [f"{leaf} imports {module}" for module in ours if not within(module, LEAVES)]
    assert found == []


def test_only_the_engine_starts_processes() -> None:
    found = []
    for name in sources().keys() - MAY_START:
        found += [f"{name} imports {module}" for module in imports(name) if module.split(".")[0] in STARTERS]
        starts = [use for use in uses_of_os(name) if use.startswith(OS_STARTERS)]
        found += [f"{name} uses os.{use}" for use in starts if not (name in MAY_EXEC and use.startswith("exec"))]
    assert found == []
