"""The versions that the backends name are those that the tests are run with."""

import json

import pytest

from services.backends import BUILT_IN
from services.demo.program import VERSION
from tests.support.guard import ROOT

PACKAGES = {"claude": "@anthropic-ai/claude-code", "codex": "@openai/codex", "gemini": "@google/gemini-cli"}
INSTALLED = json.loads((ROOT / "tests" / "e2e" / "package.json").read_text())["dependencies"]


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_is_the_one_that_the_tests_install(name: str, package: str) -> None:
    assert BUILT_IN[name].tested_version == INSTALLED[package]


@pytest.mark.parametrize("name", PACKAGES)
def test_is_the_one_that_was_recorded(name: str) -> None:
    recorded = [folder.name for folder in (ROOT / "tests" / "recordings" / name).iterdir()]
    assert BUILT_IN[name].tested_version in recorded


def test_the_demo_comes_with_the_server() -> None:
    assert BUILT_IN["demo"].tested_version == VERSION
