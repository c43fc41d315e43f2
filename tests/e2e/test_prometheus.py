"""The Grafana dashboard's queries, asked of a real Prometheus that scrapes a real server."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.prometheus import Prometheus, running_prometheus
from tests.support.guard import ROOT
from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]
NAMES = {"$__rate_interval": "1m", "$backend": ".+"}
"""What Grafana puts in their place."""


@pytest.fixture(scope="module")
def watched(servers: ServerFactory) -> Server:
    return servers({"server": {"metrics_enabled": True, "workers": 2, "warm_processes": 4}})


@pytest.fixture(scope="module")
def prometheus(watched: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), watched.port) as running:
        wait_until(lambda: running.query('up{job="clinvk"} == 1'), 30)
        yield running


@pytest.mark.parametrize("expression", QUERIES)
def test_every_query_of_the_dashboard_returns_data(watched: Server, prometheus: Prometheus, expression: str) -> None:
    for name, value in NAMES.items():
        expression = expression.replace(name, value)

    def has_data() -> bool:
        watched.client.prompt("FAKE:n=2")  # counters tell of nothing until they move
        return any(float(series["value"][1]) > 0 for series in prometheus.query(expression))

    if "clinvk_runs_now" in expression:
        assert {series["metric"]["state"] for series in prometheus.query(expression)} == {"queued", "running"}
    else:
        wait_until(has_data, 60, every_s=0.5)
