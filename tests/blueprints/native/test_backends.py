"""GET /api/v1/backends."""

from services.settings import BackendSettings
from tests.support.fake_runs import FakeRuns, fake_app


def test_lists_every_backend_in_order() -> None:
    runs = FakeRuns({})
    runs.settings["codex"] = BackendSettings(enabled=False, model="m")
    response = fake_app(runs).test_client().get("/api/v1/backends")
    assert response.json == {
        "backends": [
            {
                "name": name,
                "available": False,
                "enabled": name != "codex",
                "version": "",
                "tested": None,
                "default_model": model,
            }
            for name, model in (("claude", ""), ("codex", "m"), ("gemini", ""))
        ]
    }
