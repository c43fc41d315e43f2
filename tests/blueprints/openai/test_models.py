"""What models there are."""

from flask.testing import FlaskClient

from services.settings import BackendSettings
from tests.support.fake_runs import FakeRuns, fake_app


def client_of(**settings: BackendSettings) -> FlaskClient:
    runs = FakeRuns({})
    runs.settings |= settings
    return fake_app(runs).test_client()


def test_all_that_is_enabled_and_configured_is_listed() -> None:
    client = client_of(
        codex=BackendSettings(model="gpt-5", models=("gpt-5", "o4-mini")), gemini=BackendSettings(enabled=False)
    )
    answer = client.get("/openai/v1/models").json
    assert answer is not None
    assert answer["object"] == "list"
    assert [model["id"] for model in answer["data"]] == ["claude", "codex", "codex/gpt-5", "codex/o4-mini"]
    assert {(model["object"], model["owned_by"]) for model in answer["data"]} == {("model", "nobody")}
    assert len({model["created"] for model in answer["data"]}) == 1


def test_one_is_found_by_a_name_with_a_slash() -> None:
    client = client_of(codex=BackendSettings(model="openai/gpt-5"))
    listed = client.get("/openai/v1/models").json
    assert listed is not None
    for model in listed["data"]:
        assert client.get(f"/openai/v1/models/{model['id']}").json == model
    assert client.get("/openai/v1/models/codex%2Fopenai%2Fgpt-5").status_code == 200


def test_one_that_is_not_there() -> None:
    response = client_of().get("/openai/v1/models/claude/nothing")
    assert response.status_code == 404
    assert response.json is not None
    told = response.json["error"]
    assert "'claude/nothing'" in told.pop("message")
    assert told == {"type": "invalid_request_error", "param": "model", "code": "model_not_found"}
