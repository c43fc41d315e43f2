"""What is wrong with the description of a custom CLI, told when the server starts."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields

from services.backends.custom.words import OPTIONS, PLACE, PROMPT_FILE, TEXT_OPTIONS, option_file
from services.errors import ErrorCode, Problem
from services.events import TokenUsage
from services.settings import CustomCommand

MAX_ARGUMENT_BYTES = 128 * 1024 - 1
"""The longest argument Linux passes on (MAX_ARG_STRLEN, with its NUL)."""

FAILURES = (
    ErrorCode.BACKEND_AUTH_FAILED, ErrorCode.BACKEND_FAILED, ErrorCode.CONTEXT_TOO_LONG, ErrorCode.OVERLOADED,
    ErrorCode.RATE_LIMITED, ErrorCode.SESSION_EXPIRED, ErrorCode.TIMEOUT, ErrorCode.UNKNOWN_MODEL,
)  # fmt: skip
"""The codes a CLI's own words may mean."""

_PLACE_OF_PROMPT = {"stdin": None, "argument": "prompt", "file": "prompt_file"}
_OF_JSON_LINES = (
    "text_path", "text_when", "thinking_path", "thinking_when", "message_when", "final_when", "error_path",
    "error_when", "error_status_path", "session_path", "usage_paths", "cost_path",
)  # fmt: skip


def problems(command: CustomCommand) -> list[Problem]:
    """All that is wrong with the description; locations are relative to the backend's entry."""
    return [Problem(location, message) for location, message in _problems(command)]


Found = Iterator[tuple[str, str]]


def _problems(command: CustomCommand) -> Found:
    if not command.command or not command.command[0] or PLACE.search(command.command[0]):
        yield "command", "must begin with the name or the absolute path of a program"
    yield from _problems_of_prompt(command)
    yield from _problems_of_words(command)
    yield from _problems_of_files(command)
    yield from _problems_of_output(command)
    yield from _problems_of_judgement(command)


def _problems_of_prompt(command: CustomCommand) -> Found:
    words = (*command.command, *command.environment.values())
    names = [place[1] for word in words for place in PLACE.finditer(word)]
    wanted = _PLACE_OF_PROMPT[command.prompt_by]
    for name in ("prompt", "prompt_file"):
        if name != wanted and name in names:
            yield (
                "prompt_by",
                f"{{{name}}} in the command needs prompt_by: {'file' if name == 'prompt_file' else 'argument'}",
            )
    if wanted and names.count(wanted) != 1:
        yield "prompt_by", f"{command.prompt_by!r} needs {{{wanted}}} in the command, once"
    if command.prompt_by != "stdin" and command.newline_before:
        yield "newline_before", "needs prompt_by: stdin"
    if command.prompt_by != "stdin" and command.start_in_advance:
        yield "start_in_advance", "needs prompt_by: stdin"


def _problems_of_words(command: CustomCommand) -> Found:
    for index, word in enumerate(command.command):
        yield from _problems_of_word(f"command[{index}]", word, ("prompt", "prompt_file", "file"), command)
    for name, word in command.environment.items():
        yield from _problems_of_word(f"environment.{name}", word, ("prompt_file", "file"), command)
    places = ("value", "value_file", "file")
    for option, words in command.option_args.items():
        if option not in OPTIONS:
            yield f"option_args.{option}", f"is no option; there are: {', '.join(OPTIONS)}"
        for index, word in enumerate(words):
            here = f"option_args.{option}[{index}]"
            yield from _problems_of_word(here, word, places, command)
            if option in TEXT_OPTIONS and word == "{value}":
                yield here, "would be read as a flag when it begins with '-': use --flag={value} or {value_file}"
    for option, variables in command.option_env.items():
        if option not in OPTIONS:
            yield f"option_env.{option}", f"is no option; there are: {', '.join(OPTIONS)}"
        for name, word in variables.items():
            yield from _problems_of_word(f"option_env.{option}.{name}", word, places, command)


def _problems_of_word(location: str, word: str, allowed: tuple[str, ...], command: CustomCommand) -> Found:
    places = list(PLACE.finditer(word))
    if len(places) > 1:
        yield location, "may hold one place in braces"
    for place in places:
        if place[1] not in allowed:
            yield location, f"{place[0]} has no meaning here; there are: {', '.join(f'{{{name}}}' for name in allowed)}"
        elif place[1] in ("prompt", "value") and re.search(r"\s", word):
            yield location, f"{place[0]} in the middle of a text: a shell or an interpreter would act on it"
        elif place[1] == "prompt" and not re.fullmatch(r"(?:-[^=]*=)?\{prompt\}", word):
            yield location, "the prompt must be a word of its own or follow --flag="
        elif place[1] in ("prompt_file", "value_file", "file") and place[0] != word:
            yield location, f"{place[0]} must be the whole word"
        elif place[1] == "file" and place[2] not in command.files:
            yield location, f"files has no {place[2]!r}"


def _problems_of_files(command: CustomCommand) -> Found:
    taken = {PROMPT_FILE, "work", "tmp", *map(option_file, OPTIONS)}
    for name in command.files:
        if not re.fullmatch(r"\w[\w.-]*", name) or name in taken:
            yield f"files.{name}", "must be a plain file name, and none of " + ", ".join(sorted(taken))


def _problems_of_output(command: CustomCommand) -> Found:
    if command.output == "text":
        for name in _OF_JSON_LINES:
            if getattr(command, name):
                yield name, "needs output: jsonl"
    elif not command.text_path:
        yield "text_path", "must say where the text stands in a JSON line"
    kinds = [field.name for field in fields(TokenUsage)]
    for kind in _unknown(command.usage_paths, kinds):
        yield f"usage_paths.{kind}", f"is no kind of tokens; there are: {', '.join(kinds)}"


def _problems_of_judgement(command: CustomCommand) -> Found:
    for words, code in command.failures.items():
        if code not in FAILURES:
            yield f"failures.{words}", f"{code!r} is no code; there are: {', '.join(FAILURES)}"
    for pattern in command.refuses:
        try:
            re.compile(pattern)
        except re.error as error:
            yield f"refuses.{pattern}", f"is no regular expression: {error}"


def _unknown(mapping: Mapping[str, object], known: list[str]) -> list[str]:
    return [key for key in mapping if key not in known]
