"""The configured words of a command, and what stands for them once there is a prompt.

A word may hold one *place*:

- ``{prompt}``: the prompt, as the end of an argument (``prompt_by: argument``);
- ``{prompt_file}``: the path of a file with the prompt (``prompt_by: file``);
- ``{file:NAME}``: the path of one of the configured ``files``;
- ``{value}``, ``{value_file}`` in ``option_args`` and ``option_env``: the option's value, the path of a file with it.

The places of paths must be the whole word.  What is put into a place is never looked at again.
"""

import re
from collections.abc import Iterator

from services.backends.base import InRun, Options, PromptText

PLACE = re.compile(r"\{([a-z_]+)(?::([^{}]*))?\}")
PROMPT_FILE = "prompt.txt"
TEXT_OPTIONS = ("system_prompt", "append_system_prompt")
OPTIONS = (
    "model", *TEXT_OPTIONS, "max_turns", "max_tokens", "max_retries", "verbose", "allowed_tools", "no_tools",
    "approval_mode.auto", "approval_mode.none", "approval_mode.always",
    "sandbox_mode.read-only", "sandbox_mode.workspace", "sandbox_mode.full",
)  # fmt: skip
"""The keys of ``option_args`` and ``option_env``."""


def chosen(options: Options) -> Iterator[tuple[str, str]]:
    """The options that are not left to the CLI: their keys, with their values as text."""
    for name in ("model", *TEXT_OPTIONS, "max_turns", "max_tokens"):
        if value := getattr(options, name):
            yield name, str(value)
    if options.verbose:
        yield "verbose", "true"
    if options.allowed_tools is not None:
        yield ("allowed_tools" if options.allowed_tools else "no_tools"), ",".join(options.allowed_tools)
    for name in ("approval_mode", "sandbox_mode"):
        if (mode := getattr(options, name)) != "default":
            yield f"{name}.{mode}", mode
    yield "max_retries", str(options.max_retries)


def filled(word: str, option: str = "", value: str = "") -> str | InRun:
    """The word with its place filled, but for that of the prompt as an argument."""
    match PLACE.search(word):
        case re.Match() as place if place[1] == "value":
            return word[: place.start()] + value + word[place.end() :]
        case re.Match() as place if place[1] == "value_file":
            return InRun(option_file(option))
        case re.Match() as place if place[1] == "prompt_file":
            return InRun(PROMPT_FILE)
        case re.Match() as place if place[1] == "file":
            return InRun(place[2])
        case _:
            return word


def argument(word: str) -> str | InRun | PromptText:
    """A word of the command itself, the prompt's place included."""
    before, place, _ = word.partition("{prompt}")
    return PromptText(before) if place else filled(word)


def option_file(option: str) -> str:
    """The name of the file that holds an option's value."""
    return f"{option}.txt"
