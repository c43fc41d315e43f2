"""A run of schemathesis against a server of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.guard import ROOT
from tests.support.server import ServerFactory

HERE = Path(__file__).parent
PROGRAM = Path(sys.executable).with_name("schemathesis")
KEY = "a-key-for-the-fuzzer"
CONFIG = {
    "default_backend": "demo",
    "backends": {"demo": {"enabled": True}},
    "server": {"max_concurrent_runs": 8, "request_timeout_secs": 20},
}
SPARE_S = 60
"""For what has begun when the time is up."""


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it."""

    exit_code: int
    tracebacks: int
    text: str

    @property
    def nothing(self) -> bool:
        """Whether every check of every answer was passed, and the server had no fault of its own."""
        return self.exit_code == 0 and self.tracebacks == 0


def fuzz(servers: ServerFactory, seconds: int, seed: int) -> Found:
    """Send made-up requests to every route of a new server for so long, with all checks."""
    server = servers(CONFIG, environment={"CLINVK_API_KEYS": KEY}, headers={"X-Api-Key": KEY})
    command = [
        str(PROGRAM), "--config-file", str(HERE / "schemathesis.toml"), "run",
        f"http://127.0.0.1:{server.port}/openapi.json",
        "--header", f"X-Api-Key: {KEY}", "--checks", "all", "--max-time", str(seconds), "--seed", str(seed),
        "--workers", "1", "--request-timeout", "30", "--no-color",
    ]  # fmt: skip
    environ = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=server.folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=seconds + SPARE_S, check=False,
    )  # fmt: skip
    log = server.log
    first = log[log.find("Traceback") :][:3000] if "Traceback" in log else ""
    return Found(done.returncode, log.count("Traceback"), f"{done.stdout}\n{first}")
