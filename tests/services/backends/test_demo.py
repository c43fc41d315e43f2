"""The demo: what it is asked, what it says, how it ends."""

import ast
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.backends.base import Conversation, Options
from services.backends.demo import DemoBackend
from services.demo import PROGRAM, program
from services.errors import ErrorCode
from services.events import Done, Event, Failed, Init, Message, TokenUsage

FOLDER = "/srv/demo"
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def talk(prompt: str = "hello", **options: Any) -> Conversation:
    conversation = DemoBackend().conversation(Options(FOLDER, **options), prompt)
    conversation.start()
    return conversation


def run(stdin: bytes) -> "subprocess.CompletedProcess[bytes]":
    argv = [str(word) for word in DemoBackend().spawn(Options(FOLDER)).argv]
    return subprocess.run(argv, input=stdin, capture_output=True, env={}, timeout=30, check=False)


def whole(prompt: str, **options: Any) -> tuple[list[Event], Done | Failed]:
    """A real run of the program."""
    conversation = talk(prompt, **options)
    assert conversation.stdin_done
    ended = run(conversation.data_to_send())
    events = [event for line in ended.stdout.splitlines() for event in conversation.receive(line)]
    return events, conversation.finish(ended.returncode, ended.stderr.decode())


def said(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Message))


def test_it_says_what_it_is_and_echoes_a_bit() -> None:
    events, outcome = whole("one two three four five six seven eight nine", system_prompt="be kind", model="gpt")
    text = said(events)
    assert "not an AI" in text
    assert '44 characters and begins: "one two three four five six seven eight ..."' in text
    assert "system prompt has 7 characters" in text
    assert 'the model "gpt"' in text
    assert events[0] == Init(model="gpt")
    assert outcome == Done(TokenUsage(11, len(text.split())), 0.0)


def test_it_streams_word_by_word() -> None:
    events, _ = whole("hello")
    texts = [event.text for event in events if isinstance(event, Message)]
    assert len(texts) > 20
    assert all(len(text.split()) == 1 for text in texts)


def test_it_stops_at_max_tokens() -> None:
    events, outcome = whole("hello", max_tokens=3)
    assert said(events) == "This is the"
    assert outcome == Done(TokenUsage(1, 3), 0.0, stop_reason="max_tokens")


def test_a_system_prompt_may_be_appended() -> None:
    events, _ = whole("hello", system_prompt="ab", append_system_prompt="cd")
    assert "system prompt has 6 characters" in said(events)


def test_any_process_will_do_for_any_prompt() -> None:
    backend = DemoBackend()
    plain = backend.spawn(Options(FOLDER))
    assert plain.in_advance
    assert plain == backend.spawn(Options(FOLDER, model="m", system_prompt="s", max_tokens=3, verbose=True))


def test_what_it_cannot_do_is_a_warning() -> None:
    started = DemoBackend().spawn(Options(FOLDER, approval_mode="none", sandbox_mode="full", max_turns=2))
    assert [warning.partition(":")[0] for warning in started.warnings] == ["approval_mode", "sandbox_mode", "max_turns"]


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_what_is_sent_is_one_line(prompt: str, model: str, system: str) -> None:
    conversation = talk(prompt, model=model, system_prompt=system)
    sent = conversation.data_to_send()
    assert sent.count(b"\n") == 1
    assert json.loads(sent) == {"prompt": prompt, "model": model, "system": system, "max_tokens": 0}


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_it_has_an_answer_to_anything(prompt: str, model: str, system: str) -> None:
    text = program.answer(prompt, model, system)
    assert f"{len(prompt)} characters" in text
    assert len(text) < 1000 + len(model)


@given(st.lists(st.binary()))
def test_no_line_raises(lines: list[bytes]) -> None:
    conversation = talk()
    for line in lines:
        conversation.receive(line)
    outcome = conversation.finish(0, "")
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.BACKEND_FAILED


@pytest.mark.parametrize(("exit_code", "told"), [(2, 2), (-15, 143), (0, 1)])
def test_an_answer_cut_short_is_a_failure(exit_code: int, told: int) -> None:
    conversation = talk()
    conversation.receive(b'{"type":"text","text":"This"}')
    outcome = conversation.finish(exit_code, "why")
    assert isinstance(outcome, Failed)
    assert outcome.exit_code == told
    assert outcome.message.endswith("why")


@pytest.mark.parametrize("stdin", [b"nonsense\n", b"[]\n", b"{}\n", b'{"prompt": "a", "max_tokens": "x"}\n', b"\xff\n"])
def test_a_line_it_cannot_read_is_told(stdin: bytes) -> None:
    ended = run(stdin)
    assert ended.returncode == program.EXIT_BAD_INPUT
    assert b"Traceback" not in ended.stderr
    assert ended.stderr.startswith(b"demo: ")


def test_the_end_of_stdin_is_no_error() -> None:
    ended = run(b"")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_it_ends_when_it_is_told_to() -> None:
    argv = [str(word) for word in DemoBackend().spawn(Options(FOLDER)).argv]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}) as demo:
        assert demo.stdin is not None
        assert demo.stdout is not None
        demo.stdin.write(talk().data_to_send())
        demo.stdin.flush()
        demo.stdout.readline()
        demo.terminate()
        _, errors = demo.communicate(timeout=10)
        assert errors == b""
        assert demo.returncode == -signal.SIGTERM


def test_a_reader_that_went_away_is_no_traceback() -> None:
    argv = [str(word) for word in DemoBackend().spawn(Options(FOLDER)).argv]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}) as demo:
        assert demo.stdin is not None
        assert demo.stdout is not None
        assert demo.stderr is not None
        demo.stdout.close()
        demo.stdin.write(talk().data_to_send())
        demo.stdin.close()
        assert b"Traceback" not in demo.stderr.read()
        assert demo.wait(10) == -signal.SIGPIPE


def test_it_tells_its_version() -> None:
    backend = DemoBackend()
    told = subprocess.run([backend.executable, *backend.version_args], capture_output=True, check=True, timeout=30)
    assert told.stdout.decode().strip() == program.VERSION


def test_the_program_needs_only_the_standard_library() -> None:
    modules = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(Path(PROGRAM).read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert modules <= sys.stdlib_module_names


def test_it_starts_fast() -> None:
    """In processor time, and beside the bare interpreter: what a busy machine adds is not the program's."""

    def start_s(*arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-I", "-S", *arguments], stdin=subprocess.DEVNULL, env={}, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    bare_s = min(start_s("-c", "pass") for _ in range(7))
    assert min(start_s(PROGRAM) for _ in range(7)) - bare_s < 0.025
