"""docs/migration.md, typed as it stands in the home folder of somebody who has used clinvoker."""

import json
from pathlib import Path
from typing import Any

from tests.app.conftest import GUNICORN
from tests.services.sessions.test_importing import DOCUMENTED
from tests.support import guard
from tests.support.documents import Block, all_blocks
from tests.support.server import fakes
from tests.support.shell import printed, serving
from tests.support.waiting import free_port

CONFIGURATION: dict[str, Any] = {
    "default_backend": "codex",
    "unified_flags": {"approval_mode": "auto", "sandbox_mode": "workspace", "command_timeout_secs": 60},
    "backends": {
        "claude": {"model": "claude-sonnet-4", "allowed_tools": "all", "enabled": True},
        "codex": {"model": "o3", "extra_flags": []},
        "gemini": {"model": "gemini-2.5-pro", "system_prompt": "Be brief."},
    },
    "session": {"auto_resume": True, "retention_days": 0, "store_token_usage": True, "default_tags": ["old"]},
    "output": {"format": "json", "show_tokens": False, "show_timing": False, "color": True},
    "server": {
        "host": "127.0.0.1",
        "request_timeout_secs": 300,
        "read_timeout_secs": 30,
        "write_timeout_secs": 300,
        "idle_timeout_secs": 120,
        "rate_limit_enabled": False,
        "rate_limit_rps": 10,
        "rate_limit_burst": 20,
        "rate_limit_cleanup_secs": 180,
        "trusted_proxies": [],
        "max_request_body_bytes": 10485760,
        "metrics_enabled": False,
    },
    "parallel": {"max_workers": 3, "fail_fast": False, "aggregate_output": True},
}
"""What clinvoker's documents say its file may hold, as JSON, which is YAML as well."""


@all_blocks
def test_the_way_from_clinvoker(tmp_path: Path, blocks: list[Block]) -> None:
    port = free_port()
    home = tmp_path / ".clinvk"
    (home / "sessions").mkdir(parents=True)
    (home / "config.yaml").write_text(json.dumps(CONFIGURATION | {"server": CONFIGURATION["server"] | {"port": port}}))
    old = home / "sessions" / f"{DOCUMENTED['id']}.json"
    old.write_text(json.dumps(DOCUMENTED))
    programs = guard.minimal_bin(tmp_path / "tools")
    (programs / "clinvk").symlink_to(GUNICORN.with_name("clinvk"))
    environment = guard.clean_environment(tmp_path, f"{fakes(tmp_path / 'clis').bin}:{programs}")
    del environment["CLINVK_HOME"]  # what is typed finds ~/.clinvk
    environment["GEMINI_API_KEY"] = "k"

    check, doctor, take, serve = (block.text for block in blocks)
    assert "default_backend: codex" in printed(check, environment, tmp_path)
    assert "claude, codex, gemini can answer." in printed(doctor, environment, tmp_path)
    assert printed(take, environment, tmp_path).endswith(": 1 session, 1 new, 0 broken.\n")
    assert printed(take, environment, tmp_path).endswith(": 1 session, 0 new, 0 broken.\n")
    assert json.loads(old.read_text()) == DOCUMENTED
    with serving(serve, environment, tmp_path, port) as client:
        listed = client.get("/api/v1/sessions").json()
        assert [session["id"] for session in listed["sessions"]] == [DOCUMENTED["id"]]
        assert client.prompt("Hello!", "codex").json()["exit_code"] == 0
