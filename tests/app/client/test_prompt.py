"""``clinvk prompt``: what is printed, what reaches the server, and the exit code."""

import json
import os
import pty
import re
import signal
import subprocess

import pytest

from tests.app.client.conftest import CLINVK, Typist
from tests.fake_cli.install import seen, told
from tests.support.server import Server
from tests.support.waiting import wait_until

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_the_answer_is_all_that_is_printed(typed: Typist) -> None:
    done = typed("prompt", "-b", "claude", "hello")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("w0 w1 w2 \n")
    assert done.out.count("\n") == 1
    assert seen(done.out)["chars"] == "5"


@pytest.mark.parametrize(
    ("words", "stdin", "chars"),
    [([], b"piped\n", 6), (["-"], b"piped\n", 6), (["first", "-"], b"piped", 12), (["first"], b"piped", 5)],
)
def test_where_the_prompt_comes_from(typed: Typist, words: list[str], stdin: bytes, chars: int) -> None:
    done = typed("prompt", "-b", "claude", "--ephemeral", *words, stdin=stdin)
    assert seen(done.out)["chars"] == str(chars)


def test_a_prompt_that_looks_like_nothing_is_still_a_prompt(typed: Typist) -> None:
    assert seen(typed("prompt", "-b", "claude", "--", "default").out)["chars"] == "7"
    done = typed("prompt", "-b", "claude", "")
    assert (done.code, done.err) == (1, "clinvk: prompt: Must not be empty.\n")


def test_options_reach_the_cli(typed: Typist) -> None:
    (typed.folder / "work").mkdir()
    options = ["--model", "m1", "--workdir", "work", "--approval-mode", "auto", "--system-prompt", "Be brief.", "-e"]
    out = typed("prompt", "-b", "claude", *options, "--max-turns", "3", "FAKE:argv FAKE:cwd hi").out
    assert told(out, "cwd") == str(typed.folder / "work")
    assert {"--model=m1", "--permission-mode=acceptEdits", "--max-turns=3"} <= set(told(out, "argv"))
    assert (seen(out)["model"], seen(out)["sys"]) == ("m1", "9")


def test_the_default_backend_answers_where_none_is_named(typed: Typist) -> None:
    assert seen(typed("prompt", "-e", "hi", environ={"CLINVK_BACKEND": "gemini"}).out)["name"] == "gemini"


def test_the_whole_answer_as_json(typed: Typist) -> None:
    done = typed("prompt", "-b", "claude", "--json", "--metadata", "ticket=7", "hi")
    answer = json.loads(done.out)
    assert (done.code, done.err, answer["backend"], answer["exit_code"]) == (0, "", "claude", 0)
    shown = typed("prompt", "-b", "claude", "--json", "FAKE:exit=5 hi")
    assert (shown.code, json.loads(shown.out)["exit_code"]) == (5, 5)


def test_the_events_as_they_come(typed: Typist) -> None:
    events = [json.loads(line) for line in typed("prompt", "-b", "claude", "--events", "hi").out.splitlines()]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "done"


def test_a_session_is_continued_by_its_id_or_as_the_last_one(typed: Typist, server: Server) -> None:
    first = json.loads(typed("prompt", "-b", "claude", "--json", "first").out)["session_id"]
    assert seen(typed("prompt", "-b", "claude", "other").out)["turn"] == "1"
    assert seen(typed("prompt", "-b", "claude", "-s", first[:8], "again").out)["turn"] == "2"
    assert seen(typed("prompt", "-b", "claude", "--continue", "and again").out)["turn"] == "3"
    assert server.client.get(f"/api/v1/sessions/{first}").json()["turn_count"] == 3


def test_there_must_be_a_session_to_continue(typed: Typist) -> None:
    done = typed("prompt", "-b", "codex", "--continue", "x")
    assert (done.code, done.err) == (1, "clinvk: there is no session of codex to continue\n")


def test_a_dry_run_prints_the_command_line(typed: Typist) -> None:
    assert typed("prompt", "-b", "gemini", "-e", "--dry-run", "x").out == "gemini --acp --skip-trust <stdin>\n"


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        ("FAKE:exit=7", 7, "claude failed: it ended with exit code 7"),
        ("FAKE:exit=7 FAKE:early", 7, "claude failed: it ended with exit code 7"),
        ("FAKE:die=9", 1, "claude failed"),
        ("FAKE:401", 1, "run `claude` and log in"),
    ],
)
def test_a_cli_that_fails(typed: Typist, words: str, code: int, complaint: str) -> None:
    done = typed("prompt", "-b", "claude", "-e", words)
    assert done.code == code
    assert done.err.startswith("clinvk: ")
    assert complaint in done.err
    assert "Traceback" not in done.err


def test_what_was_said_before_a_failure_is_printed(typed: Typist) -> None:
    done = typed("prompt", "-b", "claude", "-e", "FAKE:exit=3 FAKE:n=4")
    assert "| w0 " in done.out
    assert done.out.endswith("\n")


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["-b", "nobody", "x"], 1, "there is no backend 'nobody'"),
        (["-b", "claude", "--workdir", "missing", "x"], 1, "workdir: "),
        (["-b", "claude", "-s", "1" * 8, "x"], 1, "session_id: "),
        (["-b", "claude", "--url", "localhost:1", "x"], 2, "'localhost:1' is no address of a server"),
        (["-b", "claude", "--url", "http://127.0.0.1:1", "x"], 3, "start one with `clinvk serve`"),
        (["-b", "claude", "--url", "unix:/nowhere", "x"], 3, "no server answers at unix:/nowhere"),
        (["-b", "claude", "--config", "missing.yaml", "x"], 2, "there is no such file"),
        (["-b", "claude", "--max-tokens", "-1", "x"], 2, "must be a whole number"),
        (["-b", "claude", "--metadata", "x", "x"], 2, "must be NAME=TEXT"),
        (["-b", "claude", "-c", "-e", "x"], 2, "not allowed with argument"),
    ],
)
def test_what_cannot_be_done_is_told(typed: Typist, arguments: list[str], code: int, complaint: str) -> None:
    done = typed("prompt", *arguments)
    assert (done.code, done.out) == (code, "")
    assert complaint in done.err
    assert "Traceback" not in done.err


def test_stdin_must_be_text(typed: Typist) -> None:
    done = typed("prompt", "-b", "claude", stdin=b"\xff")
    assert (done.code, done.err) == (2, "clinvk: stdin is not UTF-8 (byte 0)\n")


def test_warnings_are_told_unless_quiet(typed: Typist) -> None:
    options = ["prompt", "-b", "claude", "-e", "--sandbox-mode", "read-only"]
    assert typed(*options, "x").err.startswith("clinvk: warning: sandbox_mode: claude has no sandbox of its own")
    assert typed(*options, "-q", "x").err == ""


def test_ctrl_c_ends_the_run(typed: Typist, server: Server) -> None:
    with typed.start("prompt", "-b", "claude", "-e", "FAKE:hang") as client:
        assert client.stdout is not None
        assert client.stdout.read(8) == b"fake-cli"
        client.send_signal(signal.SIGINT)
        assert client.wait(20) == 130
    wait_until(lambda: server.client.get("/api/v1/runs").json() == {"runs": []}, 20, "the run goes on")


def test_a_reader_that_has_seen_enough_ends_it(typed: Typist, server: Server) -> None:
    with typed.start("prompt", "-b", "claude", "-e", "FAKE:flood=400000000") as client:
        assert client.stdout is not None
        assert client.stderr is not None
        assert client.stdout.read(8) == b"fake-cli"
        client.stdout.close()
        assert client.stderr.read() == b""
        assert client.wait(20) == 0
    wait_until(lambda: server.client.get("/api/v1/runs").json() == {"runs": []}, 20, "the run goes on")


def on_a_terminal(typed: Typist, *arguments: str, **environ: str) -> tuple[int, str]:
    """What a person sees who types it: exit code and everything written to the terminal."""
    master, slave = pty.openpty()
    client = subprocess.Popen(
        [str(CLINVK), *arguments],
        env=typed.environment({"TERM": "xterm", **environ}),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    try:
        while data := os.read(master, 65536):
            shown += data
    except OSError:  # the end of a terminal
        pass
    os.close(master)
    return client.wait(20), shown.decode().replace("\r\n", "\n")


def plain(shown: str) -> str:
    """Without what moves the cursor and gives colours."""
    return ESCAPES.sub("", shown)


def test_a_terminal_shows_what_goes_on(typed: Typist) -> None:
    code, shown = on_a_terminal(typed, "prompt", "-b", "claude", 'FAKE:think FAKE:tool FAKE:cmd="false" hi')
    text = plain(shown)
    assert code == 0
    assert "let me think" in text
    assert "• Bash false\n" in text
    assert "| w0 w1 w2 \n" in text
    assert re.search(r"session [0-9a-f]{32} · 23 tokens in \(11 cached\), 9 out · <\$0\.01 · \d+\.\d s\n$", text)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") > 0, "the cursor is shown again"


def test_a_terminal_without_colours(typed: Typist) -> None:
    _, shown = on_a_terminal(typed, "prompt", "-b", "claude", "-e", "-q", "hi", NO_COLOR="1")
    assert ESCAPES.findall(shown) == []
    assert shown.endswith("| w0 w1 w2 \n")


def test_a_terminal_obeys_no_answer(typed: Typist) -> None:
    _, shown = on_a_terminal(typed, "prompt", "-b", "claude", "-e", "--dry-run", "--model", "m\x1b[2J", "hi")
    assert "\x1b[2J" not in shown
    assert "m\ufffd[2J" in shown


def test_a_key_must_be_one(typed: Typist) -> None:
    done = typed("prompt", "-b", "claude", "x", environ={"CLINVK_API_KEY": "b\u00e4d"})
    assert (done.code, done.err) == (2, "clinvk: the API key has characters that none can have\n")
