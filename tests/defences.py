"""Take out one defence after another and see that a test fails for each: ``python -m tests.defences``.

Each is taken out in a copy of the project, never in the project itself.  The exit code is 1 when one can be taken out
and nothing fails, or when a defence is not where it is said to be.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.guard import ROOT

COPIED = ("app", "blueprints", "services", "tests", "docs", "deploy", "bench", "wsgi.py", "gunicorn.conf.py",
          "setup.cfg", "pyproject.toml", "README.md", "README.zh.md", "CONTRIBUTING.md", "Makefile")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Defence:
    """Something that protects the server: where it stands, what without it, and whose tests must notice."""

    name: str
    path: str
    code: str
    without: str
    tests: str


GATE, NATIVE = "tests/blueprints/test_gate.py", "tests/blueprints/native"

DEFENCES: Sequence[Defence] = (
    Defence("the Host is looked at", "blueprints/gate.py", "        self._check_host()\n", "", GATE),
    Defence("the Origin is looked at", "blueprints/gate.py", "        self._check_origin()\n", "", GATE),
    Defence("guesses are counted", "blueprints/gate.py", "self._limits.count_guess(g.address)", "pass", GATE),
    Defence("guesses lock", "blueprints/gate.py", "        self._limits.check_guesses(g.address)\n", "", GATE),
    Defence("keys are asked for", "blueprints/gate.py", "if self._keys.required and not _is_open():", "if False:",
            "tests/blueprints/test_keys.py"),
    Defence("X-Api-Key decides", "blueprints/gate.py", "    if key is not None:\n        return key\n", "",
            "tests/blueprints/test_keys.py"),
    Defence("proxies are known", "services/network.py", "return address is not None and any(address in network for",
            "return True or any(address in network for", "tests/services/test_network.py"),
    Defence("an IPv6 network is one client", "services/network.py", "SUBSCRIBER_BITS = 64", "SUBSCRIBER_BITS = 128",
            "tests/services/test_network.py"),
    Defence("a body is JSON", "app/factory.py", "    app.before_request(requests.require_json)\n", "", GATE),
    Defence("JSON is not too deep", "blueprints/json_input.py", "        if depth > MAX_DEPTH:", "        if False:",
            "tests/blueprints/test_json_input.py"),
    Defence("runs have owners", "services/registry.py", "if record is not None and record.owner == owner:",
            "if record is not None:", "tests/services/test_registry.py"),
    Defence("links are resolved", "services/workdir.py", "real = Path(path).resolve(strict=True)", "real = Path(path)",
            "tests/services/test_workdir.py"),
    Defence("blocked folders", "services/workdir.py", "for prefix in blocked):", "for prefix in ()):",
            "tests/services/test_workdir.py"),
    Defence("the judged folder is entered", "services/process.py", "if str(Path(path).readlink()) != folder:",
            "if False:", "tests/services/test_runs.py -k swapped"),
    Defence("flags are listed", "services/flags.py", "        if name not in allowed:", "        if False:",
            "tests/services/test_flags.py"),
    Defence("modes are capped", "services/planning.py", "            if mode not in allowed:", "            if False:",
            "tests/services/test_planning.py"),
    Defence("modes in flags are capped", "services/planning.py",
            "if modes is not None and modes.get(value) not in permitted:", "if False:",
            "tests/services/test_planning.py"),
    Defence("a model is no flag", "services/planning.py", 'if prompt.model.startswith("-"):', "if False:",
            "tests/services/test_planning.py"),
    Defence("nothing of ours is inherited", "services/environment.py",
            "    if name.startswith(OURS):\n        return False\n", "", "tests/services/test_environment.py"),
    Defence("a clean environment", "services/environment.py", " if allowed(name, wanted)}", "}",
            "tests/services/test_environment.py"),
    Defence("secrets are masked", "services/run.py", "message=mask(outcome.message, self._started.secrets)",
            "message=outcome.message", "tests/services/test_runs.py"),
    Defence("claude attaches nothing", "services/backends/claude/options.py",
            '("CLAUDE_CODE_DISABLE_ATTACHMENTS", "1"), ', "", "tests/services/backends/test_claude_spawn.py"),
    Defence("a slash is text to claude", "services/backends/claude/wire.py",
            'f"\\n{text}" if text.startswith("/") else text', "text",
            "tests/services/backends/test_claude.py"),
    Defence("messages cannot be forged", "services/chat.py",
            'next(n for n in count(1) if f"message {n}" not in everything)', "next(count(1))",
            "tests/services/test_chat.py"),
    Defence("orphans end", "services/process.py", ", *descendants.processes(self._engine.orphans_of(self))]", "]",
            "tests/services/test_runs.py -k early_end"),
    Defence("memory is hidden", "app/hooks.py", "if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:", "if False:",
            "tests/app/test_process.py -k dumpable"),
    Defence("slow bodies take few threads", "app/worker.py", "if self._reading >= READING_THREADS:", "if False:",
            "tests/app/test_worker.py -k half_a_body"),
    Defence("JSON is not too much", "blueprints/json_input.py", "if has_more_values(body, MAX_VALUES):", "if False:",
            "tests/blueprints/test_json_input.py"),
    Defence("large bodies wait", "blueprints/api.py", "        if len(raw) > LARGE_BYTES:\n", "        if False:\n",
            "tests/blueprints/test_json_input.py -k one_at_a_time"),
    Defence("keys are not compared as texts", "services/keys.py", "compare_digest(digest, known)", "digest == known",
            "tests/services/test_keys.py"),
    Defence("sessions have owners", "services/sessions/queries.py",
            "            query = query.where(_its_owner == bindparam(\"owner\", owner))\n", "            pass\n",
            "tests/blueprints/test_attempts.py -k of_another"),
    Defence("tools stay as configured", "services/planning.py",
            "if settings.allowed_tools is not None and (widening", "if False and (widening",
            "tests/services/test_real_flags.py"),
    Defence("the server's folder is closed", "services/planning.py", "*((str(home),) if home else ())", "*()",
            "tests/services/test_workdir.py"),
    Defence("broken chunks are the client's", "app/connection.py", "    except (ParseException, NoMoreData) as error:",
            "    except ZeroDivisionError as error:", "tests/app/test_worker.py -k hides"),
    Defence("health has threads of its own", "app/worker.py",
            "self._watching is not None and conn.is_watching()", "False",
            "tests/app/test_worker.py -k how_the_server"),
    Defence("idle connections make room", "app/worker.py", "            self._make_room()\n", "            pass\n",
            "tests/app/test_worker.py -k makes_room"),
    Defence("the closed are forgotten", "app/worker.py", "if self.poller.get_map().get(key.fd) is key:", "if True:",
            "tests/app/test_worker.py -k closed_since"),
    Defence("a few work at a time", "app/worker.py", "len(self._working) < WORKING_THREADS:", "True:",
            "tests/app/test_worker.py -k a_few_requests"),
    Defence("requests are counted one by one", "blueprints/limits.py", "        with self._turn:", "        if True:",
            "tests/blueprints/test_gate.py -k one_by_one"),
    Defence("the page asks no other host", "blueprints/docs.py", "default-src 'none'", "default-src *",
            "tests/blueprints/test_docs.py -k guarded"),
)  # fmt: skip


def fails_without(defence: Defence, project: Path) -> bool:
    """Whether a test fails in a project from which the defence is taken out.  Raises ValueError if it is not there."""
    path = project / defence.path
    whole = path.read_text()
    if whole.count(defence.code) != 1:
        raise ValueError(f"{defence.path} has {defence.code!r} {whole.count(defence.code)} times")
    path.write_text(whole.replace(defence.code, defence.without))
    try:
        tests, *selection = defence.tests.split(" ", 2)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", tests, *selection]
        done = subprocess.run(command, cwd=project, capture_output=True, timeout=300, check=False)
    finally:
        path.write_text(whole)
    return done.returncode == 1  # anything else is no failed test


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="words of the name")
    only = parser.parse_args().only
    missing = 0
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for name in COPIED:
            _copy(ROOT / name, project / name)
        for defence in DEFENCES:
            if only not in defence.name:
                continue
            began_s = time.monotonic()
            noticed = fails_without(defence, project)
            missing += not noticed
            said = "a test fails" if noticed else "NOTHING FAILS"
            print(f"{defence.name:34}{said:16}{time.monotonic() - began_s:6.1f} s", flush=True)
    print(f"{'not noticed':34}{missing}")
    raise SystemExit(1 if missing else 0)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(
            source, target, ignore=shutil.ignore_patterns("__pycache__", "node_modules", ".venv*", "results")
        )
    else:
        shutil.copy(source, target)


if __name__ == "__main__":
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    main()
