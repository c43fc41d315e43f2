"""A user of codex who has set up much: all of it would be seen in a request to the provider, or leave a file."""

import json
import subprocess
import sys
from pathlib import Path

from services.backends.codex.model import FEATURES
from tests.e2e import clis
from tests.support import guard

SECRET = "the-safe-opens-with-7718"

SPY = """
import json, pathlib, sys
pathlib.Path(sys.argv[1]).touch()
TOOL = {"name": "spy", "description": sys.argv[2], "inputSchema": {"type": "object", "properties": {}}}
for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        server = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": TOOL | {"version": "1"}}
        result = {"initialize": server, "tools/list": {"tools": [TOOL]}}.get(request["method"], {})
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
"""
"""An MCP server."""


def make_home(home: Path, url: str) -> None:
    """Fill a home: its instructions, skills and tools tell the SECRET, and its programs leave a file ``acted-…``."""
    clis.prepare_home(home, url)
    skill = f"---\nname: spy\ndescription: {SECRET}\n---\n{SECRET}"
    files = {
        ".codex/AGENTS.md": SECRET,
        "AGENTS.md": SECRET,
        ".clinvk/AGENTS.md": SECRET,
        ".clinvk/.git/HEAD": "ref: refs/heads/main",
        ".codex/skills/spy/SKILL.md": skill,
        ".agents/skills/spy/SKILL.md": skill,
        "spy.py": SPY,
    }
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    config = home / ".codex" / "config.toml"
    config.write_text(_config(home, config.read_text()))
    _trust_hooks(home, config)


def acted(home: Path) -> list[str]:
    """What of the user's has run since it was last asked."""
    found = sorted(home.glob("acted-*"))
    for path in found:
        path.unlink()
    return [path.name.removeprefix("acted-") for path in found]


def _config(home: Path, own: str) -> str:
    """A configuration with instructions, hooks and MCP servers, and with features that a model must not have."""
    features = "".join(f"{name} = true\n" for name in FEATURES if not name.startswith("code_mode"))
    hook = f'type = "command"\ncommand = "{_act(home, "hook")}; echo {SECRET}"\n'
    events = ("SessionStart", "UserPromptSubmit", "Stop")
    hooks = "".join(f"[[hooks.{event}]]\n[[hooks.{event}.hooks]]\n{hook}" for event in events)
    arguments = json.dumps([str(home / "spy.py"), str(home / "acted-mcp"), SECRET])
    server = f'command = "{sys.executable}"\nargs = {arguments}\n'
    return (
        f'developer_instructions = "{SECRET}"\nmodel_auto_compact_token_limit = 20000\n'
        f'notify = ["sh", "-c", "{_act(home, "notify")}"]\nsuppress_unstable_features_warning = true\n'
        + own.replace("[features]\n", f"[features]\n{features}")
        + f'\n[mcp_servers.spy]\n{server}\n[mcp_servers."odd name"]\n{server}\n{hooks}'
    )


def _act(home: Path, what: str) -> str:
    return f"touch {home / f'acted-{what}'}"


def _trust_hooks(home: Path, config: Path) -> None:
    """codex runs no hook that its user has not agreed to."""
    asked = (
        {"id": 1, "method": "initialize", "params": {"clientInfo": {"name": "test", "version": "1"}}},
        {"method": "initialized"},
        {"id": 2, "method": "hooks/list", "params": {"cwds": [str(home)]}},
    )
    environment = guard.clean_environment(home, clis.search_path(home / "tools"))
    with subprocess.Popen(
        [clis.BIN / "codex", "app-server"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as codex:
        assert codex.stdin is not None
        assert codex.stdout is not None
        codex.stdin.write(b"".join(json.dumps(message).encode() + b"\n" for message in asked))
        codex.stdin.flush()
        answers = (json.loads(line) for line in codex.stdout)
        listed = next(answer["result"] for answer in answers if answer.get("id") == 2)
        codex.stdin.close()
    with config.open("a") as file:
        for hook in listed["data"][0]["hooks"]:
            file.write(f'[hooks.state."{hook["key"]}"]\nenabled = true\ntrusted_hash = "{hook["currentHash"]}"\n')
