"""The code blocks of the documents, and the test that runs each of them.

:data:`PLAN` gives every block to one test, which gets it by :func:`each_block` or :func:`all_blocks`, so that none can
be named here and not get its blocks.  ``tests/test_documents.py`` compares the plan with the pages.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from typing import Any, TypeVar

import pytest

from tests.support.guard import ROOT

ADDRESS = "http://127.0.0.1:8080"
"""Where the documents have the server."""

PAGES = (
    "README.md",
    "README.zh.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")),
)
HEADING = re.compile(r"^#+ (?P<heading>.+)$", re.MULTILINE)
FENCED = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)

Test = TypeVar("Test", bound=Callable[..., object])
Plan = Mapping[str, Sequence[str]]
"""For each heading of a page, the tests of the blocks below it, in their order."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code; ``number`` counts those of the page from 0."""

    page: str
    heading: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{Path(self.page).name}-{self.number}"

    def lines(self) -> list["Block"]:
        """The commands of the block, one by one; one that goes on after a backslash is one."""
        commands = re.split(r"(?<!\\)\n", self.text.strip())
        return [replace(self, text=command) for command in commands if command]

    def at(self, port: int) -> str:
        """The text for a server with this port."""
        return self.text.replace(ADDRESS, f"http://127.0.0.1:{port}")


def blocks_in(page: str, text: str) -> Iterator[Block]:
    """The blocks of a page with this text."""
    fences = [*FENCED.finditer(text)]
    inside = [range(*fence.span()) for fence in fences]
    headings = [one for one in HEADING.finditer(text) if not any(one.start() in block for block in inside)]
    for number, fence in enumerate(fences):
        above = [one["heading"] for one in headings if one.start() < fence.start()]
        yield Block(page, above[-1] if above else "", number, fence["language"], dedent(fence["text"]))


def blocks_of_page(page: str) -> list[Block]:
    """The blocks of a page."""
    return [*blocks_in(page, (ROOT / page).read_text())]


def planned(page: str) -> list[str]:
    """The tests of a page's blocks, in their order."""
    return [test for tests in PLAN.get(page, {}).values() for test in tests]


def blocks_for(test: str) -> list[Block]:
    """The blocks that the plan gives to a test (``path::name``).  Raises LookupError when there are none."""
    found = [
        block for page in PLAN for block, its in zip(blocks_of_page(page), planned(page), strict=False) if its == test
    ]
    if not found:
        raise LookupError(f"PLAN has no block for {test}")
    return found


def each_block(*, checks: Sequence[Any] | None = None, line_by_line: bool = False) -> Callable[[Test], Test]:
    """Run a test for each ``block`` that it is given, or for each command in them.

    With ``checks``, of which there must be as many, each comes with its own as ``check``.
    """

    def decorate(test: Test) -> Test:
        blocks = blocks_for(_name(test))
        parts = [line for block in blocks for line in block.lines()] if line_by_line else blocks
        names = [f"{block}.{index}" if line_by_line else str(block) for index, block in enumerate(parts)]
        if checks is None:
            mark = pytest.mark.parametrize("block", parts, ids=names)
        else:
            mark = pytest.mark.parametrize(("block", "check"), [*zip(parts, checks, strict=True)], ids=names)
        marked: Test = mark(test)
        return marked

    return decorate


def all_blocks(test: Test) -> Test:
    """Run a test with all its ``blocks`` at once."""
    marked: Test = pytest.mark.parametrize("blocks", [blocks_for(_name(test))], ids=["all"])(test)
    return marked


def _name(test: Callable[..., object]) -> str:
    return f"{test.__module__.replace('.', '/')}.py::{test.__name__}"


API = "tests/test_api_guide.py::test_an_example_is_what_the_api_says"
API_SNIPPET = "tests/e2e/test_api_snippets.py::test_a_snippet_prints_the_answer"
COMMAND = "tests/e2e/test_cli_guide.py::test_a_command_does_what_the_page_says"
SNIPPET = "tests/e2e/test_documented.py::test_a_snippet_prints_the_models_answer"
CURL = "tests/test_readme.py::test_a_command_does_what_the_page_says"
SAME = "tests/test_readme.py::test_a_block_of_the_chinese_page_is_the_english_one"
MAKE_SERVE = "tests/e2e/test_first_steps.py::test_make_serve_starts_a_server_that_answers"
FOR_GOOD = "tests/e2e/test_first_steps.py::test_a_server_for_good"
MOVING = "tests/e2e/test_migration.py::test_the_way_from_clinvoker"
DESCRIBED = "tests/e2e/test_custom.py::test_answers_and_keeps_nothing"
SIMPLEST = "tests/services/test_custom_runs.py::test_the_simplest_description_answers"
IN_CODE = "tests/services/backends/test_in_code.py::test_a_backend_is_added_as_the_page_says"
CONFIGURED = "tests/test_deployment.py::test_yaml_on_a_page_is_a_configuration"

PLAN: Mapping[str, Plan] = {
    "README.md": {
        "Quick start": [MAKE_SERVE, CURL],
        "With the SDKs that you have": [SNIPPET] * 3,
        "The native API": [CURL] * 5,
        "Running it for good": [FOR_GOOD],
    },
    "README.zh.md": {
        "快速开始": [SAME] * 2,
        "用现成的 SDK 调用": [SAME] * 3,
        "原生 API": [SAME] * 5,
        "长期运行": [SAME],
    },
    "CONTRIBUTING.md": {
        "Find your way": ["tests/test_contributing.py::test_the_map_has_every_folder"],
    },
    "docs/api.md": {
        "Errors": [API],
        "Prompts": [API],
        "Streams": [API],
        "Continue a conversation": [API],
        "Look at one": [API],
        "Health": [API],
        "OpenAI": [API_SNIPPET] * 3,
        "Chat completions": [API] * 2,
        "What goes wrong": [API],
        "Anthropic": [API_SNIPPET] * 2,
        "Messages": [API],
        "Models": [API],
        "Failures": [API],
    },
    "docs/backends.md": {
        "A CLI of your own": [SIMPLEST],
        "llm 0.36": [DESCRIBED],
        "opencode 1.18.33": [DESCRIBED],
        "Qwen Code 0.24.4": [DESCRIBED],
        "1. Record what it says": [IN_CODE],
        "2. Write it": [IN_CODE],
        "4. Test it": [IN_CODE],
    },
    "docs/cli.md": {
        "Serve": ["tests/e2e/test_cli_guide.py::test_a_server_starts_as_the_page_says"],
        "Config check": [COMMAND],
        "Doctor": [COMMAND, "tests/e2e/test_cli_guide.py::test_the_report_looks_like_this", COMMAND],
        "Prompt": [COMMAND] * 5,
        "Which server": [COMMAND],
        "Compare": [COMMAND] * 2,
        "Sessions": [COMMAND],
    },
    "docs/clients.md": {
        "OpenAI SDK": [SNIPPET] * 2,
        "Anthropic SDK": [SNIPPET] * 2,
        "LangChain": [SNIPPET] * 2,
        "LiteLLM": [SNIPPET],
        "Vercel AI SDK": [SNIPPET] * 2,
        "llm": ["tests/e2e/test_documented.py::test_llm_knows_the_model", SNIPPET],
        "Claude Code": [SNIPPET],
    },
    "docs/configuration.md": {
        "Configuration": ["tests/app/config/test_reference.py::test_the_message_that_the_reference_shows"],
        "`backends.<any other name>`": [
            "tests/app/config/test_reference.py::test_the_references_example_of_a_backend_is_right"
        ],
    },
    "docs/deployment.md": {
        "The configuration": [CONFIGURED, "tests/test_deployment.py::test_the_configuration_is_looked_at"],
        "Keys": ["tests/e2e/test_deployed.py::test_a_key_is_made"],
        "nginx": ["tests/e2e/test_nginx.py::test_it_is_judged_and_reloaded_as_the_page_says"],
        "systemd": ["tests/test_deployment.py::test_the_service_is_put_in_place"] * 2,
        "A container": ["tests/test_deployment.py::test_the_image_is_built_and_run"],
        "Reload and stop": [
            "tests/e2e/test_stopping.py::test_a_stop_says_how_many_runs_it_waits_for_and_when_it_ends_them"
        ],
        "Upgrade": ["tests/test_deployment.py::test_the_upgrade_is_of_what_the_service_runs"],
        "Backups": ["tests/e2e/test_deployed.py::test_a_backup_is_a_session_store"],
    },
    "docs/migration.md": {
        "In five steps": [MOVING] * 4,
    },
    "docs/sizing.md": {
        "Memory, and runs at once": ["tests/test_deployment.py::test_the_number_of_runs_is_what_the_formula_says"],
        "Rate limits and Redis": [CONFIGURED],
    },
    "docs/warm.md": {"Warm processes": [CONFIGURED], "From the start": [CONFIGURED], "Sessions": [CONFIGURED]},
}
