"""Every code block of the documents has its test, and what the documents name is there."""

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from itertools import groupby

import pytest

from app.cli import parser
from tests.support.documents import PAGES, PLAN, Plan, blocks_in, blocks_of_page
from tests.support.guard import ROOT

TEXTS = {page: (ROOT / page).read_text() for page in PAGES}
CONFIGURATION = TEXTS["docs/configuration.md"]
TAKES_BLOCKS = ("each_block", "all_blocks")


def differences(page: str, text: str, plan: Plan) -> Iterator[str]:
    """Where a page with this text has more or fewer blocks than the plan has tests."""
    found = {heading: len([*its]) for heading, its in groupby(blocks_in(page, text), lambda block: block.heading)}
    for heading in sorted(found.keys() | plan.keys()):
        blocks, tests = found.get(heading, 0), len(plan.get(heading, ()))
        if blocks != tests:
            yield f"{page}, {heading}: {blocks} blocks, {tests} tests"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_by_a_test(page: str) -> None:
    assert [*differences(page, TEXTS[page], PLAN.get(page, {}))] == []


@pytest.mark.parametrize("page", PAGES)
def test_there_is_no_other_code(page: str) -> None:
    """Fences that are not closed, of other characters, or blocks by indentation, would be seen by nobody."""
    outside = re.sub(r"(?ms)^( *)```.*?^\1```$", "", TEXTS[page])
    assert re.findall(r"^\s*(?:```|~~~).*", outside, re.MULTILINE) == []
    assert re.findall(r"\n\n(?: {4}|\t)(?![-*\d]).*", outside) == []
    assert TEXTS[page].count("```") == 2 * len(blocks_of_page(page))


def test_the_plan_is_of_pages_that_there_are() -> None:
    assert PLAN.keys() <= set(PAGES)


@pytest.mark.parametrize("test", sorted({test for plan in PLAN.values() for tests in plan.values() for test in tests}))
def test_each_test_is_there_and_takes_its_blocks(test: str) -> None:
    path, _, name = test.partition("::")
    (found,) = (
        node
        for node in ast.parse((ROOT / path).read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    )
    decorators = [ast.unparse(decorator).partition("(")[0] for decorator in found.decorator_list]
    assert [decorator for decorator in decorators if decorator in TAKES_BLOCKS]
    assert {argument.arg for argument in found.args.args} & {"block", "blocks"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# A\n```sh\none\n```\n", []),
        ("# A\n", ["page.md, A: 0 blocks, 1 tests"]),
        ("# A\n```sh\n# a comment, no heading\n```\n```\ntwo\n```\n", ["page.md, A: 2 blocks, 1 tests"]),
        ("# A\n## B\n\n1. In a list:\n\n   ```sh\n   one\n   ```\n", [f"page.md, {told}" for told in (
            "A: 0 blocks, 1 tests", "B: 1 blocks, 0 tests",
        )]),
    ],
)  # fmt: skip
def test_a_block_more_or_less_is_told(text: str, told: list[str]) -> None:
    assert [*differences("page.md", text, {"A": ["a test"]})] == told


# ---------------------------------------------------------------------- what is named


def anchor(heading: str) -> str:
    """As the sites that show such pages make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target, fragment in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", TEXTS[page]):
        linked = (ROOT / page).parent / target if target else ROOT / page
        assert linked.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert fragment in {anchor(heading) for heading in headings}, fragment


@pytest.mark.parametrize("page", PAGES)
def test_each_setting_that_is_named_is_one(page: str) -> None:
    named = set(re.findall(r"`(?:server|session|unified_flags|sdk|parallel|output)\.(\w+)[`:]", TEXTS[page]))
    named |= set(re.findall(r"`backends\.[\w<>-]+\.(\w+)[`:]", TEXTS[page]))
    assert {key for key in named if f"| `{key}` |" not in CONFIGURATION} == set()


@pytest.mark.parametrize("page", PAGES)
def test_each_command_of_clinvks_in_a_sentence_is_one(page: str) -> None:
    commands = re.findall(r"`(?:\.venv/bin/)?clinvk ([a-z][^`]*)`", TEXTS[page])
    assert {command: told for command in commands if (told := [*unknown(command)])} == {}


def unknown(command: str) -> Iterator[str]:
    """The commands and the options in a command line that ``clinvk`` does not have."""
    here: argparse.ArgumentParser | None = parser()
    for word in shlex.split(command):
        assert here is not None
        inner = {name: its for action in here._actions for name, its in _commands(action)}
        if inner:
            here = inner.get(word)
            if here is None:
                yield word
                return
        elif word.startswith("-") and word not in here._option_string_actions:
            yield word


def _commands(action: argparse.Action) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    if isinstance(action, argparse._SubParsersAction):
        yield from action.choices.items()


@pytest.mark.parametrize("command", ["serv", "sessions lst", "serve --prot 1"])
def test_one_that_there_is_not_is_told(command: str) -> None:
    assert [*unknown(command)] == [command.split()[-2 if "--" in command else -1]]
