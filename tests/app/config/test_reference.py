"""The example file and the reference tell every key and its default, and no other."""

import re
from collections.abc import Mapping
from dataclasses import fields
from inspect import isclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import yaml

from app.cli import main
from app.config import EXIT_CONFIG
from app.config.report import in_force
from services.settings import (
    BackendSettings,
    CustomCommand,
    OutputSettings,
    ParallelSettings,
    SdkSettings,
    ServerSettings,
    SessionSettings,
    UnifiedFlags,
)
from tests.app.config.reading import problems, read
from tests.app.config.test_keys import CUSTOM, TABLES, value_in
from tests.support.documents import Block, each_block

ROOT = Path(__file__).parents[3]
EXAMPLE = (ROOT / "deploy" / "config.yaml").read_text()
REFERENCE = (ROOT / "docs" / "configuration.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| `(.*?)` \| (.+) \|$", re.MULTILINE)


def custom_backend() -> dict[str, Any]:
    """The backend that the example shows in a comment."""
    block = EXAMPLE[EXAMPLE.index("  # llm:") : EXAMPLE.index("# Sessions:")]
    tree = yaml.safe_load(re.sub(r"(?m)^  # ?", "", block))
    return dict(tree["llm"])


def test_the_example_is_what_is_in_force_without_it(tmp_path: Path) -> None:
    assert read(tmp_path, EXAMPLE) == read(tmp_path, "")


def test_the_example_has_every_key_with_a_comment(tmp_path: Path) -> None:
    tree, everything = yaml.safe_load(EXAMPLE), yaml.safe_load(in_force(read(tmp_path, "")))
    assert set(tree) == set(everything)
    for section in set(tree) - {"default_backend", "backends"}:
        assert set(tree[section]) == set(everything[section])
    assert set(tree["backends"]["claude"]) == set(everything["backends"]["claude"])
    lines = EXAMPLE.splitlines()
    for number, line in enumerate(lines):
        if re.match(r"(  |    |  #   )\w+: ", line) and lines[number - 1] not in ("  codex:", "  gemini:", "  demo:"):
            assert lines[number - 1].lstrip(" #") != lines[number - 1], f"{line} has no comment"


def test_the_backend_that_the_example_shows_has_every_key_and_the_defaults(tmp_path: Path) -> None:
    shown = custom_backend()
    assert set(shown) == set(CUSTOM)
    config = read(tmp_path, {"backends": {"llm": shown}})
    shown_only = ("command", "option_args", "pass_env")
    plain = read(tmp_path, {"backends": {"llm": {key: shown[key] for key in shown_only}}})
    assert config == plain


def headings() -> dict[str, str]:
    """The text below each heading of the reference."""
    parts = re.split(r"(?m)^## (.*)$", REFERENCE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented(heading: str) -> dict[str, str]:
    """The keys in the tables below a heading, with their defaults."""
    rows = ROW.findall(headings()[heading])
    assert all(meaning.strip() for *_, meaning in rows)
    keys = [key for key, *_ in rows]
    assert len(keys) == len(set(keys))
    return {key: default for key, _, default, _ in rows}


@pytest.mark.parametrize("section", ["unified_flags", "session", "output", "parallel", "sdk", "server"])
def test_the_reference_has_every_key_of_a_section_with_its_default(tmp_path: Path, section: str) -> None:
    told = documented(f"`{section}`")
    assert set(told) == {key.partition(".")[2] for key in TABLES if key.startswith(f"{section}.")}
    config = read(tmp_path, {section: {key: yaml.safe_load(default) for key, default in told.items()}})
    assert config == read(tmp_path, "")


def test_the_reference_has_every_key_of_a_backend_with_its_default(tmp_path: Path) -> None:
    told = documented("`backends.<name>`")
    assert set(told) == {field.name for field in fields(BackendSettings)} - {"custom"}
    section = {key: yaml.safe_load(default) for key, default in told.items()}
    assert read(tmp_path, {"backends": {"claude": section}}) == read(tmp_path, "")


def test_the_reference_has_every_key_of_a_backend_of_your_own_with_its_default(tmp_path: Path) -> None:
    told = documented("`backends.<any other name>`")
    assert set(told) == {field.name for field in fields(CustomCommand)}
    defaults = {key: yaml.safe_load(default) for key, default in told.items()} | {"command": ["llm"]}
    assert read(tmp_path, {"backends": {"llm": defaults}}) == read(
        tmp_path, {"backends": {"llm": {"command": ["llm"]}}}
    )


@each_block()
def test_the_references_example_of_a_backend_is_right(tmp_path: Path, block: Block) -> None:
    assert problems(tmp_path, block.text) == []


@each_block()
def test_the_message_that_the_reference_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str], block: Block) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("server: {prot: 8080}")
    assert main(["config", "check", "--config", str(file)]) == EXIT_CONFIG
    told = capsys.readouterr().err
    assert told.replace(str(file), "/home/me/.clinvk/config.yaml") == block.text


WORDS = {bool: "true or false", int: "whole number", str: "text"}
SHAPES = {tuple: "list", Mapping: "mapping"}
SECTIONS = {
    "unified_flags": UnifiedFlags, "session": SessionSettings, "output": OutputSettings, "parallel": ParallelSettings,
    "sdk": SdkSettings, "server": ServerSettings, "backends.<name>": BackendSettings,
    "backends.<any other name>": CustomCommand,
}  # fmt: skip


def type_in_words(name: str, hint: Any) -> str:
    """A type as the reference calls it."""
    if NoneType in get_args(hint):
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    if hint is float:
        return "seconds" if name.endswith("_secs") else "number"
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(f"`{word}`" for word in get_args(hint))
    shape = next(
        (word for kind, word in SHAPES.items() if isclass(of := get_origin(hint)) and issubclass(of, kind)), ""
    )
    if shape != "mapping":
        return shape or WORDS[hint]
    inner = get_origin(get_args(hint)[1])
    return shape if inner is None else f"mapping of {SHAPES[tuple if inner is tuple else Mapping]}s"


@pytest.mark.parametrize("section", SECTIONS)
def test_the_reference_tells_the_type_of_every_key(section: str) -> None:
    told = {key: kind for key, kind, *_ in ROW.findall(headings()[f"`{section}`"])}
    hints = {name: hint for name, hint in get_type_hints(SECTIONS[section]).items() if name in told}
    own_words = {"allowed_tools": "text or list", "log_format": "`auto`, `text` or `json`"}
    assert told == {name: own_words.get(name) or type_in_words(name, hint) for name, hint in hints.items()}


def test_the_reference_names_every_variable_and_no_other() -> None:
    """All that the code looks at; the marker of a run is not for people."""
    sources = "".join(path.read_text() for room in ("app", "services") for path in (ROOT / room).rglob("*.py"))
    used = set(re.findall(r"\bCLINVK_[A-Z_]*[A-Z]\b", sources)) - {"CLINVK_RUN_ID"}
    used |= {f"CLINVK_{name}_MODEL" for name in ("CLAUDE", "CODEX", "GEMINI", "MY_CLI")}
    assert set(re.findall(r"`(CLINVK_\w+)`", REFERENCE)) == used


def test_the_variables_act_as_the_reference_says(tmp_path: Path) -> None:
    told = dict(re.findall(r"^\| `(CLINVK_\w+)` \| `([\w.]+)` \|$", REFERENCE, re.MULTILINE))
    assert told.keys() == {"CLINVK_BACKEND", "CLINVK_API_KEYS_GOPASS_PATH"}
    for variable, key in told.items():
        assert value_in(read(tmp_path, "", {variable: "codex"}), key) == "codex"
    models = ("claude", "codex", "gemini", "my-cli")
    environ = {f"CLINVK_{name.upper().replace('-', '_')}_MODEL": f"model of {name}" for name in models}
    config = read(tmp_path, {"backends": {"my-cli": {"command": ["x"]}}}, environ)
    assert {name: config.backends[name].model for name in models} == {name: f"model of {name}" for name in models}
