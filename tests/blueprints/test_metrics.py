"""/metrics, on real servers: several workers, streams, dead workers."""

import os
import signal
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.server import Server, ServerFactory
from tests.support.waiting import wait_until

KEY = "the-key-of-the-house"
PROMPT = "/api/v1/prompt"


@pytest.fixture(scope="module")
def counted(servers: ServerFactory) -> Server:
    config = {"server": {"metrics_enabled": True, "workers": 2, "headers_after_secs": 0.2}}
    return servers(config, environment={"CLINVK_API_KEYS": KEY}, headers={"X-Api-Key": KEY})


def figures(server: Server) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = server.client.request("GET", "/metrics", headers={"X-Api-Key": ""})
    assert answer.status == 200
    families = text_string_to_metric_families(answer.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def figure(server: Server, name: str, labels: Mapping[str, str] | None = None) -> float:
    return figures(server).get((name, frozenset((labels or {}).items())), 0.0)


def runs(server: Server, outcome: str) -> float:
    return figure(server, "clinvk_runs_total", {"backend": "claude", "outcome": outcome})


def requests(server: Server, route: str, status: int) -> float:
    labels = {"method": "POST", "route": route, "status": str(status)}
    return figure(server, "clinvk_http_requests_total", labels)


def test_every_worker_tells_the_figures_of_all_also_of_the_dead(counted: Server) -> None:
    before = runs(counted, "done"), runs(counted, "backend_failed"), requests(counted, PROMPT, 200)
    for _ in range(6):
        counted.client.prompt("FAKE:n=1")
    counted.client.prompt("FAKE:silent")
    after = before[0] + 6, before[1] + 1, before[2] + 7
    wait_until(lambda: (runs(counted, "done"), runs(counted, "backend_failed")) == after[:2])
    wait_until(lambda: requests(counted, PROMPT, 200) == after[2])
    old = {worker.pid for worker in counted.workers()}
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len({worker.pid for worker in counted.workers()} - old) == 2, 20)
    for _ in range(8):  # whoever answers
        assert (runs(counted, "done"), runs(counted, "backend_failed")) == after[:2]


def test_a_stream_counts_when_it_has_ended_and_goes_on_until_then(counted: Server) -> None:
    before = requests(counted, PROMPT, 200)
    body = {"backend": "claude", "prompt": "FAKE:n=2 FAKE:delay=600", "output_format": "stream-json"}
    with counted.client.send("POST", PROMPT, body) as exchange:
        assert exchange.status == 200
        wait_until(lambda: figure(counted, "clinvk_runs_now", {"state": "running"}) == 1)
        assert requests(counted, PROMPT, 200) == before
    wait_until(lambda: requests(counted, PROMPT, 200) == before + 1)
    wait_until(lambda: figure(counted, "clinvk_runs_now", {"state": "running"}) == 0)


def test_tokens_first_text_and_slots_are_told(counted: Server) -> None:
    before = figure(counted, "clinvk_tokens_total", {"backend": "claude", "kind": "output"})
    text = figure(counted, "clinvk_run_first_text_seconds_count", {"backend": "claude"})
    usage = counted.client.prompt("FAKE:n=2").json()["token_usage"]
    assert figure(counted, "clinvk_tokens_total", {"backend": "claude", "kind": "output"}) == (
        before + usage["output_tokens"]
    )
    assert figure(counted, "clinvk_run_first_text_seconds_count", {"backend": "claude"}) == text + 1
    assert figure(counted, "clinvk_run_slots") == 8


def test_labels_are_of_fixed_sets_whatever_is_asked_for(counted: Server) -> None:
    for path in ("/nobody/knows/17", "/api/v1/sessions/17"):
        counted.client.get(path)
    counted.client.request("BREW", "/health")

    def labels() -> set[str]:
        return {value for _, pairs in figures(counted) for _, value in pairs}

    wait_until(lambda: {"unmatched", "other"} <= labels())  # a request is counted when its answer is on its way
    assert not [label for label in labels() if "17" in label or label == "BREW"]


def test_nothing_is_told_of_keys_and_prompts(counted: Server) -> None:
    counted.client.prompt("the-word-of-the-prompt")
    text = counted.client.get("/metrics").text
    assert KEY not in text
    assert "the-word-of-the-prompt" not in text


def test_there_are_none_unless_they_are_switched_on(server: Server) -> None:
    answer = server.client.get("/metrics")
    assert answer.status == 404
    assert "server.metrics_enabled" in answer.json()["detail"]
