"""CONTRIBUTING.md shows the way: every folder and command that there is, and none that there is not."""

import re

from tests.support.documents import Block, each_block
from tests.support.guard import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
ROOMS = ("app", "blueprints", "services", "services/backends", "tests", "bench", "deploy", "docs")


@each_block()
def test_the_map_has_every_folder(block: Block) -> None:
    """Each room, and each package within the first four."""
    described = {name.rstrip("/"): text for name, text in re.findall(r"^(\S+/) +(.+\n(?:^ +.+\n)*)", block.text, re.M)}
    assert described.keys() == set(ROOMS)
    for room in ROOMS[:4]:
        packages = {path.parent.name for path in (ROOT / room).glob("*/__init__.py")} - {"backends"}
        assert {name for name in packages if f"{name}/" not in described[room]} == set(), room
    for room, text in described.items():
        named = re.findall(r"(?<![\w/`])([\w-]+(?:/|\.py))(?!\w)", text)
        there = {name for name in named if [*(ROOT / room).glob(name), *(ROOT / room).glob(f"*/{name}")]}
        assert set(named) == there, room


def test_each_path_that_is_named_is_there() -> None:
    paths = re.findall(r"`((?:app|blueprints|services|tests|bench|docs|deploy|\.ci)/[^`]*)`", PAGE)
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    paths = [path for path in paths if not any(f"{path}/".startswith(f"{name}/") for name in ignored)]
    assert paths
    for path in paths:
        assert [*ROOT.glob(re.sub(r"<\w+>", "*", path).rstrip("/"))], path


def test_each_command_of_make_is_told() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = set(re.findall(r"^([a-z0-9]+):.*##", makefile, re.MULTILINE)) - {"help"}
    assert set(re.findall(r"^\| `make ([a-z0-9]+)` \|", PAGE, re.MULTILINE)) == commands
