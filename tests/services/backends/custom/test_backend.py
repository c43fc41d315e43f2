"""What a description becomes: the process to start, what is sent, what is refused."""

import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backends.base import InRun, Options, PromptText, Spawn
from services.backends.custom import CustomBackend, problems
from services.backends.custom.check import MAX_ARGUMENT_BYTES
from services.backends.custom.words import OPTIONS
from services.settings import CustomCommand
from tests.support.documented import command, configurations

FOLDER = "/srv/demo"
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def spawn(command: CustomCommand, **options: Any) -> Spawn:
    return CustomBackend("tool", command).spawn(Options(FOLDER, **options))


def test_the_least_there_is() -> None:
    started = spawn(CustomCommand(("tool", "ask")))
    assert started == Spawn(("tool", "ask"), FOLDER, in_advance=False)
    assert not started.warnings


def test_options_go_to_the_end_or_before_the_dashes() -> None:
    model = {"model": ("--model", "{value}")}
    assert spawn(CustomCommand(("tool", "-v"), option_args=model), model="m").argv == ("tool", "-v", "--model", "m")
    dashed = CustomCommand(("tool", "--", "{prompt}"), prompt_by="argument", option_args=model)
    assert spawn(dashed, model="m").argv == ("tool", "--model", "m", "--", PromptText())


def test_a_text_goes_by_a_private_file() -> None:
    described = CustomCommand(("tool",), option_args={"system_prompt": ("--sf", "{value_file}")})
    started = spawn(described, system_prompt="-be brief")
    assert started.argv == ("tool", "--sf", InRun("system_prompt.txt"))
    assert started.files == (("system_prompt.txt", "-be brief"),)


def test_an_option_may_be_a_variable() -> None:
    described = CustomCommand(("tool",), option_env={"system_prompt": {"SYSTEM": "{value_file}"}})
    started = spawn(described, system_prompt="be brief")
    assert started.environment == (("SYSTEM", InRun("system_prompt.txt")),)
    assert started.files == (("system_prompt.txt", "be brief"),)


def test_configured_files_and_variables_are_there() -> None:
    described = CustomCommand(
        ("tool", "--config", "{file:a.json}"), environment={"X": "1", "Y": "{file:a.json}"}, files={"a.json": "{}"}
    )
    started = spawn(described)
    assert started.argv == ("tool", "--config", InRun("a.json"))
    assert started.environment == (("X", "1"), ("Y", InRun("a.json")))
    assert started.files == (("a.json", "{}"),)


def test_what_cannot_be_honoured_is_a_warning() -> None:
    started = spawn(
        CustomCommand(("tool",), option_args={"sandbox_mode.full": ("--free",)}),
        model="m",
        max_turns=3,
        system_prompt="secret",
        verbose=True,
        approval_mode="none",
        sandbox_mode="full",
        allowed_tools=(),
    )
    assert started.argv == ("tool", "--free")
    assert [warning.partition(":")[0] for warning in started.warnings] == [
        "model", "system_prompt", "max_turns", "verbose", "allowed_tools", "approval_mode",
    ]  # fmt: skip
    assert "secret" not in str(started.warnings)


@given(st.text(string.printable))
def test_a_value_is_put_in_once_and_never_looked_at_again(value: str) -> None:
    started = spawn(CustomCommand(("tool",), option_args={"model": ("--model={value}",)}), model=value)
    assert started.argv == (("tool", f"--model={value}") if value else ("tool",))


@given(ANY_TEXT)
def test_the_prompt_is_no_part_of_what_is_started(prompt: str) -> None:
    """Equal spawns for all prompts: a place is kept for them."""
    for described, place in (
        (CustomCommand(("tool", "--ask={prompt}"), prompt_by="argument"), PromptText("--ask=")),
        (CustomCommand(("tool", "{prompt_file}"), prompt_by="file"), InRun("prompt.txt")),
    ):
        backend = CustomBackend("tool", described)
        started = backend.spawn(Options(FOLDER))
        assert started.argv == ("tool", place)
        conversation = backend.conversation(Options(FOLDER), prompt)
        conversation.start()
        assert conversation.data_to_send() == b""
        assert conversation.stdin_done
    assert started.files == (("prompt.txt", PromptText()),)


@given(ANY_TEXT)
def test_stdin_gets_the_prompt_byte_for_byte(prompt: str) -> None:
    conversation = CustomBackend("tool", CustomCommand(("tool",))).conversation(Options(FOLDER), prompt)
    conversation.start()
    assert conversation.data_to_send() == prompt.encode()
    assert conversation.stdin_done


@pytest.mark.parametrize(("prompt", "sent"), [("/help", b"\n/help"), ("see /help", b"see /help"), ("!ls", b"\n!ls")])
def test_a_newline_disarms_a_command(prompt: str, sent: bytes) -> None:
    described = CustomCommand(("tool",), newline_before=("/", "!"))
    conversation = CustomBackend("tool", described).conversation(Options(FOLDER), prompt)
    conversation.start()
    assert conversation.data_to_send() == sent


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (("tool", "{prompt}"), True),
        (("tool", "-p", "{prompt}"), True),
        (("tool", "--", "{prompt}"), False),
        (("tool", "--prompt={prompt}"), False),
    ],
)
def test_an_argument_is_never_read_as_a_flag(words: tuple[str, ...], refused: bool) -> None:
    backend = CustomBackend("tool", CustomCommand(words, prompt_by="argument"))
    assert bool(backend.objection("--help")) == refused
    assert not backend.objection("help --me")


def test_an_argument_has_a_greatest_size() -> None:
    backend = CustomBackend("tool", CustomCommand(("tool", "--prompt={prompt}"), prompt_by="argument"))
    assert backend.max_prompt_bytes == MAX_ARGUMENT_BYTES - len("--prompt=")
    assert CustomBackend("tool", CustomCommand(("tool",))).max_prompt_bytes == 0


def test_prompts_are_refused_by_pattern() -> None:
    backend = CustomBackend("tool", CustomCommand(("tool",), refuses={r"@\S": "no files"}))
    assert backend.objection("see a@b") == "no files"
    assert backend.objection("at @ nine") == ""


@pytest.mark.parametrize(
    ("described", "location"),
    [
        (CustomCommand(), "command"),
        (CustomCommand(("{prompt}",), prompt_by="argument"), "command"),
        (CustomCommand(("tool", "{prompt}")), "prompt_by"),
        (CustomCommand(("tool", "{prompt_file}"), prompt_by="argument"), "prompt_by"),
        (CustomCommand(("tool",), prompt_by="argument"), "prompt_by"),
        (CustomCommand(("tool", "{prompt}", "{prompt}"), prompt_by="argument"), "prompt_by"),
        (CustomCommand(("sh", "-c", "tool {prompt}"), prompt_by="argument"), "command[2]"),
        (CustomCommand(("tool", "ask:{prompt}"), prompt_by="argument"), "command[1]"),
        (CustomCommand(("tool", "{promtp}")), "command[1]"),
        (CustomCommand(("tool", "--f={prompt_file}"), prompt_by="file"), "command[1]"),
        (CustomCommand(("tool", "{file:x}")), "command[1]"),
        (CustomCommand(("tool", "{value}")), "command[1]"),
        (CustomCommand(("tool",), option_args={"modle": ("x",)}), "option_args.modle"),
        (CustomCommand(("tool",), option_args={"model": ("a {value}",)}), "option_args.model[0]"),
        (CustomCommand(("tool",), option_args={"model": ("{value}{value}",)}), "option_args.model[0]"),
        (CustomCommand(("tool",), option_args={"system_prompt": ("-s", "{value}")}), "option_args.system_prompt[1]"),
        (CustomCommand(("tool",), option_env={"modle": {}}), "option_env.modle"),
        (CustomCommand(("tool",), option_env={"model": {"X": "{prompt}"}}), "option_env.model.X"),
        (CustomCommand(("tool",), environment={"X": "{value}"}), "environment.X"),
        (CustomCommand(("tool",), files={"../x": ""}), "files.../x"),
        (CustomCommand(("tool",), files={"prompt.txt": ""}), "files.prompt.txt"),
        (CustomCommand(("tool",), text_path="text"), "text_path"),
        (CustomCommand(("tool",), output="jsonl"), "text_path"),
        (CustomCommand(("tool",), output="jsonl", text_path="t", usage_paths={"input": ("a",)}), "usage_paths.input"),
        (CustomCommand(("tool",), failures={"oh": "internal"}), "failures.oh"),
        (CustomCommand(("tool",), refuses={"(": "no"}), "refuses.("),
        (
            CustomCommand(("tool", "{prompt}"), prompt_by="argument", newline_before=("/",)),
            "newline_before",
        ),
        (CustomCommand(("tool", "{prompt}"), prompt_by="argument", start_in_advance=True), "start_in_advance"),
    ],
)
def test_a_bad_description_is_told_by_its_place(described: CustomCommand, location: str) -> None:
    assert location in [problem.location for problem in problems(described)]
    with pytest.raises(ValueError, match=re.escape(location)):
        CustomBackend("tool", described)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_can_be_given(option: str) -> None:
    described = CustomCommand(("tool",), option_args={option: ("--it", "{value_file}")})
    name, _, mode = option.partition(".")
    values: dict[str, dict[str, Any]] = {
        "no_tools": {"allowed_tools": ()},
        "allowed_tools": {"allowed_tools": ("a", "b")},
    }
    asked = values.get(option, {name: mode or 7})
    started = spawn(described, **asked)
    assert started.argv == ("tool", "--it", InRun(f"{option}.txt"))
    assert not started.warnings


@pytest.mark.parametrize("name", sorted(configurations()))
def test_what_the_documents_show_is_right(name: str) -> None:
    backend = CustomBackend(name, command(name))
    assert backend.spawn(Options(FOLDER)).argv[0] == backend.executable
