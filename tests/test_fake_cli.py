"""The fake CLI speaks the protocols, does what its words say, and notes every start."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fake_cli.install import ROOT, FakeClis, seen, told
from tests.support import processes
from tests.support.waiting import wait_until

CLAUDE = ("claude", "-p", "--input-format", "stream-json", "--include-partial-messages")
THREAD: tuple[dict[str, Any], ...] = (
    {"id": 1, "method": "initialize", "params": {}},
    {"method": "initialized"},
    {"id": 2, "method": "thread/start", "params": {"model": "m", "baseInstructions": "be brief"}},
)


class Talk:
    """A started fake CLI."""

    def __init__(self, clis: FakeClis, *command: str) -> None:
        program = [str(clis.bin / command[0]), *command[1:]]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            program,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=dict(os.environ),  # readline adds to what C passes on
        )
        assert self.process.stdin
        assert self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def send(self, *messages: Any) -> None:
        for message in messages:
            self.stdin.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")
        self.stdin.flush()

    def receive(self) -> Any:
        return json.loads(self.stdout.readline())

    def until(self, **fields: Any) -> Any:
        """The next message that has these fields."""
        while True:
            message = self.receive()
            if fields.items() <= message.items():
                return message

    def rest(self) -> tuple[int, list[Any], bytes]:
        """Close stdin; the exit code, the remaining messages, and stderr."""
        output, complaints = self.process.communicate(timeout=20)
        return self.process.returncode, [json.loads(line) for line in output.splitlines()], complaints

    def end(self) -> int:
        """Close the pipes; the exit code."""
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        return self.process.wait(20)


def run(clis: FakeClis, *command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [clis.bin / command[0], *command[1:]],
        input=stdin,
        capture_output=True,
        timeout=20,
        check=False,
        env=dict(os.environ),
    )


def user(text: str) -> dict[str, Any]:
    return {"type": "user", "message": {"role": "user", "content": text}}


def turn(text: str, ident: int = 3) -> dict[str, Any]:
    return {"id": ident, "method": "turn/start", "params": {"threadId": "t", "input": [{"type": "text", "text": text}]}}


def deltas(messages: list[Any]) -> str:
    """The streamed text of any of the three."""
    said = ""
    for message in messages:
        match message:
            case {"event": {"delta": {"text": text}}} | {
                "method": "item/agentMessage/delta",
                "params": {"delta": text},
            }:
                said += text
            case {"type": "message", "role": "assistant", "content": text}:
                said += text
    return said


def ask(clis: FakeClis, name: str, prompt: str) -> tuple[int, list[Any], bytes]:
    """One prompt to one of the three CLIs in its protocol: exit code, messages, stderr."""
    match name:
        case "claude":
            talk = Talk(clis, *CLAUDE)
            talk.send(user(prompt))
            return talk.rest()
        case "codex":
            talk = Talk(clis, "codex", "app-server")
            talk.send(*THREAD, turn(prompt))
            messages = []
            while line := talk.stdout.readline():  # it ends at the end of stdin, so stdin stays open meanwhile
                messages.append(json.loads(line))
                if messages[-1].get("method") == "turn/completed":
                    break
            code, more, complaints = talk.rest()
            return code, messages + more, complaints
        case _:
            talk = Talk(clis, name)
            talk.send(b"\n" + prompt.encode())
            return talk.rest()


@pytest.mark.parametrize("name", ["claude", "codex", "gemini"])
def test_tells_what_it_saw_and_notes_the_start(fake_clis: FakeClis, name: str, tmp_path: Path) -> None:
    prompt = "-/!# @/etc/passwd é🎉 " + "x" * 200_000
    code, messages, _ = ask(fake_clis, name, prompt)

    assert code == 0
    about = seen(deltas(messages))
    assert about["name"] == name
    assert int(about["chars"]) == len(prompt)
    assert about["sha256"] == hashlib.sha256(prompt.encode()).hexdigest()
    assert deltas(messages).endswith("| w0 w1 w2 ")
    (start,) = fake_clis.starts()
    assert start["argv"][0] == str(fake_clis.bin / name)
    assert start["cwd"] == str(Path.cwd())
    assert set(start["env"]) == set(os.environ)


def test_asking_the_version_is_no_start(fake_clis: FakeClis) -> None:
    assert run(fake_clis, "claude", "--version").stdout == b"2.1.197 (Claude Code)\n"
    assert fake_clis.starts() == []
    assert len(fake_clis.entries("version")) == 1


def test_claude_takes_its_system_prompt_by_control_request(fake_clis: FakeClis) -> None:
    talk = Talk(fake_clis, *CLAUDE, "--model", "opus")
    request = {"subtype": "initialize", "systemPrompt": ["be", "brief"]}
    talk.send({"type": "control_request", "request_id": "r1", "request": request})
    assert talk.receive()["response"]["request_id"] == "r1"
    talk.send(user("hello"))
    result = talk.until(type="result")
    code, _, _ = talk.rest()

    assert code == 0
    assert result["subtype"] == "success"
    about = seen(result["result"])
    assert (about["model"], about["sys_sha256"]) == ("opus", hashlib.sha256(b"be\nbrief").hexdigest())


def test_claude_obeys_an_interrupt(fake_clis: FakeClis) -> None:
    talk = Talk(fake_clis, *CLAUDE)
    talk.send(user("x FAKE:n=1000 FAKE:delay=0.01"))
    talk.until(type="stream_event")
    talk.send({"type": "control_request", "request_id": "r2", "request": {"subtype": "interrupt"}})
    assert talk.until(type="control_response")["response"]["subtype"] == "success"
    assert talk.until(type="result")["subtype"] == "error_during_execution"
    assert talk.rest()[0] == 1


def test_claude_takes_earlier_turns(fake_clis: FakeClis) -> None:
    talk = Talk(fake_clis, *CLAUDE)
    talk.send({**user("one"), "shouldQuery": False})
    assert talk.until(type="result")["num_turns"] == 0
    talk.send({"type": "assistant", "message": {"role": "assistant", "content": []}}, user("two"))

    assert seen(talk.until(type="result")["result"])["turn"] == "2"
    talk.rest()


def ask_claude(clis: FakeClis, *messages: dict[str, Any], flags: tuple[str, ...] = ()) -> tuple[str, str]:
    """The session's id and the turn that the answer tells; no turn for what is no question."""
    talk = Talk(clis, *CLAUDE, *flags)
    talk.send(*messages)
    result = talk.until(type="result")
    assert talk.rest()[0] == 0
    return result["session_id"], seen(result["result"])["turn"] if result["result"] else ""


def test_claude_keeps_continues_and_copies_conversations(fake_clis: FakeClis, home: Path) -> None:
    first, turn = ask_claude(fake_clis, user("one"))
    assert turn == "1"
    assert ask_claude(fake_clis, user("other"))[0] != first
    assert ask_claude(fake_clis, user("two"), flags=(f"--resume={first}",)) == (first, "2")
    silence = {"type": "user", "shouldQuery": False, "message": {"role": "user", "content": []}}
    copy, said = ask_claude(fake_clis, silence, flags=("--resume", first, "--fork-session"))
    assert copy != first
    assert not said
    assert ask_claude(fake_clis, user("three"), flags=("--resume", first)) == (first, "3")
    assert ask_claude(fake_clis, user("three"), flags=("--resume", copy)) == (copy, "3")
    assert len(list(home.glob(".claude/projects/*/*.jsonl"))) == 3


def test_claude_keeps_nothing_when_told_so(fake_clis: FakeClis, home: Path) -> None:
    ask_claude(fake_clis, user("one"), flags=("--no-session-persistence",))
    assert not list(home.glob(".claude/projects/*/*"))


def test_claude_misses_a_conversation_it_does_not_have(fake_clis: FakeClis) -> None:
    talk = Talk(fake_clis, *CLAUDE, "--resume", "nobody")
    code, (result,), complaints = talk.rest()
    assert code == 1
    assert result["errors"] == ["No conversation found with session ID: nobody"]
    assert b"No conversation found" in complaints


def test_claude_ends_at_a_line_that_is_no_json(fake_clis: FakeClis) -> None:
    talk = Talk(fake_clis, *CLAUDE)
    talk.send(b"hello\n")

    assert talk.rest()[0] == 1


def test_codex_obeys_an_interrupt(fake_clis: FakeClis) -> None:
    talk = Talk(fake_clis, "codex", "app-server")
    talk.send(*THREAD, turn("x FAKE:hang"))
    talk.until(method="item/agentMessage/delta")
    talk.send({"id": 4, "method": "turn/interrupt", "params": {}})
    assert talk.until(id=4) == {"id": 4, "result": {}}
    assert talk.until(method="turn/completed")["params"]["turn"]["status"] == "interrupted"
    assert talk.rest()[0] == 0


def test_codex_ends_with_its_stdin_in_the_middle_of_a_turn(fake_clis: FakeClis) -> None:
    talk = Talk(fake_clis, "codex", "app-server")
    talk.send(*THREAD, turn("x FAKE:hang"))
    talk.until(method="item/agentMessage/delta")
    code, messages, _ = talk.rest()

    assert code == 0
    assert not [message for message in messages if message.get("method") == "turn/completed"]


def test_codex_asks_for_approval(fake_clis: FakeClis) -> None:
    talk = Talk(fake_clis, "codex", "app-server")
    talk.send(*THREAD, turn("x FAKE:approve"))
    asked = talk.until(method="item/commandExecution/requestApproval")
    talk.send({"id": asked["id"], "result": {"decision": "decline"}})
    item = talk.until(method="item/completed")
    while item["params"]["item"]["type"] != "agentMessage":
        item = talk.until(method="item/completed")
    talk.rest()

    assert seen(item["params"]["item"]["text"].replace(" | decision", " decision"))["decision"] == '"decline"'


def test_gemini_echoes_and_reads_its_system_prompt(
    fake_clis: FakeClis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "system.md").write_text("be brief")
    monkeypatch.setenv("GEMINI_SYSTEM_MD", str(tmp_path / "system.md"))
    _, messages, _ = ask(fake_clis, "gemini", "hello")

    assert [message["type"] for message in messages[:3]] == ["init", "message", "message"]
    assert messages[1]["role"] == "user"
    assert messages[1]["content"] == "hello"
    assert seen(deltas(messages))["sys"] == "8"
    assert messages[-1]["status"] == "success"


def acp(clis: FakeClis, prompt: str, *flags: str) -> Talk:
    """A gemini whose session is open and which was asked."""
    talk = Talk(clis, "gemini", "--acp", *flags)
    talk.send({"id": 1, "method": "initialize", "params": {"protocolVersion": 1}})
    talk.send({"id": 2, "method": "session/new", "params": {"cwd": ".", "mcpServers": []}})
    session = talk.until(id=2)["result"]["sessionId"]
    parts = [{"type": "text", "text": "\u0085"}, {"type": "text", "text": prompt}]
    talk.send({"id": 3, "method": "session/prompt", "params": {"sessionId": session, "prompt": parts}})
    return talk


def test_gemini_speaks_acp(fake_clis: FakeClis) -> None:
    talk = acp(fake_clis, "hello FAKE:think FAKE:tool", "--model=m")
    updates = []
    while (message := talk.receive()).get("id") != 3:
        updates.append(message["params"]["update"])
    code, _, _ = talk.rest()

    kinds = [update["sessionUpdate"] for update in updates]
    assert kinds[1:4] == ["agent_thought_chunk", "tool_call", "tool_call_update"]
    said = "".join(update["content"]["text"] for update in updates if update["sessionUpdate"] == "agent_message_chunk")
    assert (seen(said)["chars"], seen(said)["model"]) == ("26", "m")
    assert message["result"]["stopReason"] == "end_turn"
    assert code == 0


def test_gemini_takes_a_conversation_up_again(fake_clis: FakeClis) -> None:
    talk = acp(fake_clis, "first")
    talk.until(id=3)
    talk.rest()
    talk = Talk(fake_clis, "gemini", "--acp")
    talk.send({"id": 2, "method": "session/load", "params": {"sessionId": "latest", "cwd": ".", "mcpServers": []}})
    past = [talk.receive() for _ in range(3)]
    parts = [{"type": "text", "text": "second"}]
    talk.send({"id": 3, "method": "session/prompt", "params": {"sessionId": "latest", "prompt": parts}})

    assert [message.get("id") or message["params"]["update"]["sessionUpdate"] for message in past] == [
        "user_message_chunk",
        2,
        "agent_message_chunk",
    ]
    assert seen(talk.receive()["params"]["update"]["content"]["text"])["turn"] == "2"
    assert talk.until(id=3)["result"]["stopReason"] == "end_turn"
    assert talk.rest()[0] == 0


def test_gemini_obeys_a_cancel_and_asks_for_permission(fake_clis: FakeClis) -> None:
    talk = acp(fake_clis, "x FAKE:approve FAKE:hang")
    assert talk.until(id=0)["method"] == "session/request_permission"
    talk.send({"id": 0, "result": {"outcome": {"outcome": "cancelled"}}})
    assert "decision=cancelled" in talk.until(method="session/update")["params"]["update"]["content"]["text"]
    talk.send({"method": "session/cancel", "params": {}})
    assert talk.until(id=3)["result"]["stopReason"] == "cancelled"
    assert talk.rest()[0] == 0


def test_gemini_reports_a_providers_failure_over_acp(fake_clis: FakeClis) -> None:
    talk = acp(fake_clis, "x FAKE:429")
    error = talk.until(id=3)["error"]

    assert error["code"] == 429
    assert json.loads(error["message"])["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert talk.rest()[0] == 0


@pytest.mark.parametrize(("name", "code"), [("claude", 1), ("codex", 0), ("gemini", 401 % 256)])
def test_reports_a_providers_failure(fake_clis: FakeClis, name: str, code: int) -> None:
    exit_code, messages, _ = ask(fake_clis, name, "x FAKE:401")

    assert exit_code == code
    match name:
        case "claude":
            assert messages[-1]["api_error_status"] == 401
            assert [m["error_status"] for m in messages if m.get("subtype") == "api_retry"] == [401]
        case "codex":
            assert messages[-1]["params"]["turn"]["error"]["codexErrorInfo"] == "unauthorized"
        case _:
            assert "UNAUTHENTICATED" in messages[-1]["error"]["message"]


def test_thinks_and_runs_a_tool(fake_clis: FakeClis) -> None:
    for name, signs in {
        "claude": ("thinking_delta", '"tool_use"', "tool_result"),
        "codex": ("summaryTextDelta", "commandExecution", "aggregatedOutput"),
        "gemini": ("tool_use", "tool_result"),
    }.items():
        _, messages, _ = ask(fake_clis, name, 'x FAKE:think FAKE:tool FAKE:cmd="echo $((40+2))"')
        whole = json.dumps(messages)
        assert "42" in whole
        assert all(sign in whole for sign in signs), name


def test_other_names_print_text_or_json_lines(fake_clis: FakeClis) -> None:
    fake_clis.install("other")
    by_stdin = run(fake_clis, "other", "--model=m", stdin="hé".encode())
    by_argument = run(fake_clis, "other", "--jsonl", "--prompt", "hi")

    assert seen(by_stdin.stdout.decode())["chars"] == "2"
    kinds = [json.loads(line)["type"] for line in by_argument.stdout.splitlines()]
    assert kinds == ["start", "text", "text", "text", "text", "end"]


def test_tells_environment_arguments_and_folder(fake_clis: FakeClis) -> None:
    _, messages, _ = ask(fake_clis, "gemini", "x FAKE:env FAKE:argv FAKE:cwd")
    said = deltas(messages)

    assert told(said, "env") == dict(os.environ)
    assert told(said, "argv")[-1] == str(fake_clis.bin / "gemini")
    assert told(said, "cwd") == str(Path.cwd())


def test_floods(fake_clis: FakeClis) -> None:
    _, messages, _ = ask(fake_clis, "gemini", "x FAKE:flood=20000000")
    said = deltas(messages)

    numbers = [int(word) for word in said.split(" | ")[1].split() if word.isdigit()]
    assert numbers == list(range(20_000))


def test_prints_one_big_line(fake_clis: FakeClis) -> None:
    _, messages, _ = ask(fake_clis, "claude", "x FAKE:bigline=12000000")

    assert "b" * 12_000_000 in messages[-1]["result"]


def test_splits_characters(fake_clis: FakeClis) -> None:
    talk = Talk(fake_clis, "gemini")
    talk.send(b"x FAKE:utf8 FAKE:n=50")
    talk.stdin.close()
    broken, whole = 0, b""
    while data := os.read(talk.stdout.fileno(), 65536):
        whole += data
        try:
            data.decode()
        except UnicodeDecodeError:
            broken += 1
    talk.end()

    assert broken > 10
    assert "é漢🎉49 " in whole.decode()


def test_floods_stderr(fake_clis: FakeClis) -> None:
    _, messages, complaints = ask(fake_clis, "gemini", "x FAKE:stderr=300000")

    assert len(complaints) == 300_000
    assert messages[-1]["status"] == "success"


@pytest.mark.parametrize(
    ("words", "code", "last"),
    [
        ("FAKE:silent", 0, None),
        ("FAKE:noend", 0, "message"),
        ("FAKE:exit=3", 3, "message"),
        ("FAKE:exit=3 FAKE:early", 3, "message"),
        ("FAKE:endcode=3", 3, "result"),
        ("FAKE:die=9", -9, "message"),
        ("FAKE:die=11", -11, "message"),
    ],
)
def test_ends_as_it_is_told(fake_clis: FakeClis, words: str, code: int, last: str | None) -> None:
    exit_code, messages, _ = ask(fake_clis, "gemini", f"x {words}")

    assert exit_code == code
    assert (messages[-1]["type"] if messages else None) == last
    assert bool(deltas(messages)) == (words != "FAKE:silent" and "early" not in words)


def test_prints_garbage(fake_clis: FakeClis) -> None:
    done = run(fake_clis, "gemini", stdin=b"x FAKE:garbage")

    assert done.returncode == 0
    assert b"this is no JSON\n" in done.stdout
    assert b'"status"' not in done.stdout


def test_a_good_answer_among_noise(fake_clis: FakeClis) -> None:
    done = run(fake_clis, "gemini", stdin=b"x FAKE:noise")

    assert b"this is no JSON\n" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["status"] == "success"


@pytest.mark.parametrize(
    ("name", "number", "code"),
    [
        ("claude", signal.SIGTERM, 143),
        ("claude", signal.SIGINT, 0),
        ("codex", signal.SIGTERM, -15),
        ("gemini", signal.SIGTERM, 0),
    ],
)
def test_ends_by_a_signal_as_the_real_one(fake_clis: FakeClis, name: str, number: signal.Signals, code: int) -> None:
    talk = Talk(fake_clis, name, *(["app-server"] if name == "codex" else []))
    wait_until(fake_clis.starts, 20, "the start")
    wait_until(lambda: _sleeps(talk.process.pid), 20, "that it waits for input")
    talk.process.send_signal(number)

    assert talk.process.wait(20) == code
    talk.end()


def test_can_be_deaf_to_signals_and_interrupts(fake_clis: FakeClis) -> None:
    talk = Talk(fake_clis, *CLAUDE)
    talk.send(user("x FAKE:hang FAKE:ignore-term"))
    talk.until(type="stream_event")
    talk.process.send_signal(signal.SIGTERM)
    talk.process.send_signal(signal.SIGINT)
    talk.send({"type": "control_request", "request_id": "r", "request": {"subtype": "interrupt"}})
    talk.until(type="control_response")
    talk.stdin.close()
    wait_until(lambda: _sleeps(talk.process.pid), 20, "that it hangs")

    assert talk.process.poll() is None
    talk.process.kill()
    assert talk.end() == -9


@pytest.mark.parametrize("kind", ["child", "grandchild", "orphan"])
@pytest.mark.parametrize("empty", [False, True])
def test_leaves_children(fake_clis: FakeClis, tmp_path: Path, kind: str, empty: bool) -> None:
    file = tmp_path / "pid"
    talk = Talk(fake_clis, "gemini")
    talk.send(f"x FAKE:hang FAKE:{kind}={file} {'FAKE:emptyenv' if empty else ''}".encode())
    talk.stdin.close()
    wait_until(file.exists, 20, "the child's pid")
    child = psutil.Process(int(file.read_text()))
    try:
        # its name is there before its environment
        wait_until(lambda: child.cmdline()[:1] == ["sleep"], 20, "the child's exec")
        assert bool(child.environ()) is not empty
        assert (os.getsid(child.pid) == child.pid) is (kind == "grandchild")
        assert (os.getsid(child.pid) == os.getsid(0)) is (kind == "child")
        assert (child.ppid() == talk.process.pid) is (kind != "orphan")
        talk.process.kill()
        talk.process.wait()
        assert processes.is_running(child)
    finally:
        child.kill()
        talk.end()


def test_reads_its_stdin_slowly(fake_clis: FakeClis) -> None:
    began = time.monotonic()
    ask(fake_clis, "gemini", "FAKE:readstdin=0.02 " + "x" * 1_000_000)

    assert time.monotonic() - began > 0.2


def test_words_at_installation_count_for_every_start(fake_clis: FakeClis) -> None:
    fake_clis.install("gemini", always="FAKE:startexit=7")
    assert run(fake_clis, "gemini", stdin=b"x").returncode == 7
    fake_clis.install("gemini", always="FAKE:n=1")
    _, messages, _ = ask(fake_clis, "gemini", "x")
    assert deltas(messages).endswith("| w0 ")


def test_loads_nothing_slow() -> None:
    code = "import sys; sys.path.append(sys.argv[1]); import tests.fake_cli.program; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-IS", "-c", code, str(ROOT)], capture_output=True, text=True, check=True)

    assert not set(done.stdout.split()) & {"typing", "dataclasses", "inspect", "pathlib", "subprocess", "psutil"}


def _sleeps(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_SLEEPING)
