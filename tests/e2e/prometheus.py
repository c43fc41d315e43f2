"""A Prometheus server of Debian's package that scrapes one target, with all that it has in one temporary folder."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.support.client import Client
from tests.support.guard import clean_environment
from tests.support.waiting import free_port, wait_until

PROGRAM = Path("/usr/bin/prometheus")
EVERY = "500ms"


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running one."""

    client: Client

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression gives now: a list of series.  AssertionError when it cannot be evaluated."""
        answer = self.client.get(f"/api/v1/query?{urlencode({'query': expression})}").json()
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found


@contextmanager
def running_prometheus(folder: Path, target_port: int) -> Iterator[Prometheus]:
    """One that scrapes ``/metrics`` of a port of loopback.  Fails, never skips, when it is not installed."""
    if not PROGRAM.exists():
        pytest.fail("Prometheus is not installed: apt-get install prometheus", pytrace=False)
    job = {"job_name": "clinvk", "static_configs": [{"targets": [f"127.0.0.1:{target_port}"]}]}
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump({"global": {"scrape_interval": EVERY}, "scrape_configs": [job]}))
    port = free_port()
    command = [
        str(PROGRAM),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=clean_environment(folder, "/usr/bin:/bin"), stdout=log, stderr=log
        )
    try:
        client = Client(port)

        def answers() -> bool:
            assert process.poll() is None, (folder / "prometheus.log").read_text()
            with suppress(OSError):
                return client.get("/-/ready").status == 200
            return False

        wait_until(answers, 30)
        yield Prometheus(client)
    finally:
        process.terminate()
        process.wait(30)
