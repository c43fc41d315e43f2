"""What the server says of itself."""

from services.settings import BackendSettings
from tests.support.fake_runs import FakeRuns, fake_app


def test_index_says_what_this_is() -> None:
    client = fake_app(FakeRuns({})).test_client()
    answer = client.get("/").json
    assert answer is not None
    assert answer["name"] == "clinvk"
    assert client.get(answer["openapi"]).status_code == 200
    assert client.get(answer["health"]).status_code == 200
    assert client.get(answer["docs"]).mimetype == "text/html"
    assert client.head("/").status_code == 200
    lists = {"native": "/backends", "openai": "/models", "anthropic": "/v1/models"}
    assert {name: client.get(answer["apis"][name] + path).status_code for name, path in lists.items()} == dict.fromkeys(
        answer["apis"], 200
    )


def test_health_tells_how_busy_the_server_is() -> None:
    runs = FakeRuns({})
    for _ in range(6):
        runs.slots.enter(lambda: None)
    answer = fake_app(runs).test_client().get("/health").json
    assert answer is not None
    assert answer["runs"] == {"active": 4, "queued": 2, "limit": 4}
    assert answer["version"] == "1.2.3"
    assert answer["uptime_ms"] == answer["uptime_millis"]
    assert answer["uptime"].endswith("s")


def test_health_is_degraded_only_by_backends_that_are_enabled() -> None:
    runs = FakeRuns({})
    answer = fake_app(runs).test_client().get("/health").json
    assert answer is not None
    assert answer["status"] == "degraded"
    assert answer["backends"] == [{"name": name, "available": False} for name in ("claude", "codex", "gemini")]
    for name in runs.settings:
        runs.settings[name] = BackendSettings(enabled=False)
    healthy = fake_app(runs).test_client().get("/health")
    assert healthy.status_code == 200
    assert healthy.json is not None
    assert healthy.json["status"] == "ok"
