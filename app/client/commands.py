"""What ``clinvk prompt`` and ``clinvk compare`` do; their grammar is in cli.py."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from app.client.address import Surroundings
from app.client.comparison import Comparison
from app.client.connection import Connection, Json
from app.client.display import Display, Terminal, display_for
from app.client.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, ClientError, exit_code_of
from app.config import EXIT_CONFIG, ConfigError

MOST_SESSIONS = 1000
"""So many of the newest are looked through for the one used last: the most that the server lists at once."""


def run(arguments: argparse.Namespace) -> int:
    """Do a command's work; errors on stderr."""
    terminal = Terminal.own()
    try:
        surroundings = Surroundings(arguments.config, arguments.url)
        body = BODIES[arguments.action](arguments, surroundings)
        with Connection(surroundings.address, surroundings.key()) as server:
            return WORK[arguments.action](server, body, arguments, terminal)
    except ConfigError as error:
        terminal.complain(str(error))
        return EXIT_CONFIG
    except ClientError as error:
        terminal.complain(error.message)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough: let Python's own flush at the end go nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def text_of(words: Sequence[str]) -> str:
    """What is to be said: the words of the command line, and what comes on stdin.  Raises ClientError."""
    if not words and sys.stdin.isatty():
        message = "there is nothing to say: give a prompt, or - and the text on stdin"
        raise ClientError(message, EXIT_USAGE)
    parts = [_stdin() if word == "-" else word for word in words or ("-",)]
    return "\n\n".join(parts)


def _stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise ClientError(f"stdin is not UTF-8 (byte {error.start})", EXIT_USAGE) from error


def prompt_body(arguments: argparse.Namespace, surroundings: Surroundings) -> Json:
    """The body of ``POST /prompt`` without what is left to the server."""
    fields: Json = {
        "backend": arguments.backend or surroundings.config.default_backend,
        "prompt": text_of(arguments.prompt),
        "model": arguments.model,
        "workdir": _absolute(arguments.workdir),
        "session_id": arguments.session,
        "ephemeral": arguments.ephemeral,
        "approval_mode": arguments.approval_mode,
        "sandbox_mode": arguments.sandbox_mode,
        "system_prompt": arguments.system_prompt,
        "append_system_prompt": arguments.append_system_prompt,
        "max_turns": arguments.max_turns,
        "max_tokens": arguments.max_tokens,
        "extra": arguments.extra,
        "metadata": dict(arguments.metadata),
        "verbose": arguments.verbose,
        "dry_run": arguments.dry_run,
    }
    return _given(fields)


def compare_body(arguments: argparse.Namespace, _: Surroundings) -> Json:
    """The body of ``POST /compare``."""
    own: dict[str, str] = {}
    for_all = ""
    for word in arguments.model:
        backend, separator, name = word.partition("=")
        if separator and backend in arguments.backend:
            own[backend] = name
        else:
            for_all = word
    fields: Json = {
        "backends": arguments.backend,
        "prompt": text_of(arguments.prompt),
        "model": for_all,
        "models": own,
        "workdir": _absolute(arguments.workdir),
        "sequential": arguments.sequential,
        "dry_run": arguments.dry_run,
    }
    return _given(fields)


def _given(fields: Json) -> Json:
    """Without what is left to the server, which judges the prompt, empty or not."""
    return {name: value for name, value in fields.items() if value or name == "prompt"}


def _absolute(folder: str | None) -> str:
    return str(Path(folder).absolute()) if folder else ""


def ask(server: Connection, body: Json, arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Ask one backend, and show what it says."""
    if arguments.continues:
        body = {**body, "session_id": latest_session(server, body["backend"])}
    if arguments.json:
        answer = server.post("/api/v1/prompt", body)
        terminal.print_json(answer)
        return _exit_code(answer)
    with display_for(terminal, body["backend"], quiet=arguments.quiet, raw=arguments.events) as display:
        return _follow(server, {**body, "output_format": "stream-json"}, display)


def _follow(server: Connection, body: Json, display: Display) -> int:
    """Show the events of a run to its end; the exit code."""
    last: Json = {}
    for event in server.stream("/api/v1/prompt", body):
        display.show(event)
        last = event
    content = last["content"]
    if last["type"] == "done":
        return _exit_code(content)
    return exit_code_of(content.get("exit_code", EXIT_FAILED))


def _exit_code(answer: Json) -> int:
    """The exit code for an answer that is whole."""
    code = answer.get("exit_code", 0)
    return exit_code_of(code) if code or "error" in answer else 0


def latest_session(server: Connection, backend: str) -> str:
    """The id of the backend's session that was used last.  Raises ClientError when there is none."""
    listed = server.get("/api/v1/sessions", backend=backend, limit=MOST_SESSIONS)["sessions"]
    if not listed:
        raise ClientError(f"there is no session of {backend} to continue")
    return str(max(listed, key=lambda session: session["last_used"])["id"])


def compare(server: Connection, body: Json, arguments: argparse.Namespace, terminal: Terminal) -> int:
    """Ask several backends, and show what each of them says."""
    if arguments.json:
        whole = server.post("/api/v1/compare", body)
        terminal.print_json(whole)
    else:
        with Comparison(terminal, body["backends"], quiet=arguments.quiet) as comparison:
            for event in server.stream("/api/v1/compare", {**body, "output_format": "stream-json"}):
                comparison.show(event)
        whole = event["content"]
        comparison.print(whole)
    return EXIT_FAILED if any(map(_exit_code, whole["results"])) else 0


Work = Callable[[Connection, Json, argparse.Namespace, Terminal], int]

BODIES: dict[str, Callable[[argparse.Namespace, Surroundings], Json]] = {
    "prompt": prompt_body,
    "compare": compare_body,
}
"""What a command asks of the server."""

WORK: dict[str, Work] = {"prompt": ask, "compare": compare}
"""What it does with the server; gives the exit code."""
