"""Errors as Anthropic's clients see them."""

import re

import pytest

from blueprints.anthropic.errors import TYPES
from services.errors import ClinvkError, ErrorCode
from services.events import Failed, Init
from tests.blueprints.anthropic.asking import HELLO, URL, AskingAnthropic
from tests.support.fake_runs import FakeRuns, Script, fake_app

STATUSES = {
    "invalid_request": (400, "invalid_request_error"),
    "flag_not_allowed": (400, "invalid_request_error"),
    "workdir_not_allowed": (400, "invalid_request_error"),
    "unknown_backend": (400, "not_found_error"),
    "unknown_model": (404, "not_found_error"),
    "context_too_long": (400, "invalid_request_error"),
    "method_not_allowed": (405, "invalid_request_error"),
    "unauthorized": (401, "authentication_error"),
    "origin_not_allowed": (403, "permission_error"),
    "not_permitted": (403, "permission_error"),
    "not_found": (404, "not_found_error"),
    "session_not_found": (404, "not_found_error"),
    "session_busy": (409, "invalid_request_error"),
    "ambiguous_id": (409, "invalid_request_error"),
    "canceled": (409, "invalid_request_error"),
    "session_expired": (410, "invalid_request_error"),
    "request_timeout": (408, "timeout_error"),
    "payload_too_large": (413, "request_too_large"),
    "unsupported_media_type": (415, "invalid_request_error"),
    "rate_limited": (429, "rate_limit_error"),
    "backend_failed": (502, "api_error"),
    "backend_auth_failed": (502, "api_error"),
    "internal": (500, "api_error"),
    "backend_unavailable": (503, "api_error"),
    "overloaded": (529, "overloaded_error"),
    "timeout": (504, "timeout_error"),
}


def test_every_code_has_its_type() -> None:
    assert set(TYPES) == set(ErrorCode)
    assert set(STATUSES) == {code.value for code in ErrorCode}


@pytest.mark.parametrize("ran", [False, True])
@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error(asking: AskingAnthropic, code: ErrorCode, ran: bool) -> None:
    script: Script = [[Init()], [Failed(code, "so it went")]] if ran else ClinvkError(code, "so it went")
    response = asking.post(script=script)
    status, kind = STATUSES[code.value]
    assert response.status_code == status
    assert response.content_type == "application/json"
    assert response.json == {
        "type": "error",
        "error": {"type": kind, "message": "so it went"},
        "request_id": response.headers["request-id"],
    }
    may_retry = not ran and code not in (ErrorCode.UNAUTHORIZED, ErrorCode.BACKEND_UNAVAILABLE, ErrorCode.INTERNAL)
    assert (response.headers.get("X-Should-Retry") != "false") == may_retry
    assert ("Retry-After" in response.headers) == (status in (429, 529))


@pytest.mark.parametrize("path", ["/anthropic/nowhere", "/anthropic/v1/complete", "/anthropic/v1/messages/batches"])
def test_what_is_not_there_is_told_in_the_same_way(asking: AskingAnthropic, path: str) -> None:
    response = asking.client.post(path, json=HELLO)
    assert response.status_code == 404
    assert response.json is not None
    assert response.json["error"] == {"type": "not_found_error", "message": f"there is nothing at {path}"}
    assert response.headers["request-id"] == response.headers["X-Request-Id"] == response.json["request_id"]


def test_what_is_not_of_this_dialect_is_told_natively(asking: AskingAnthropic) -> None:
    response = asking.client.get("/anthropics")
    assert response.content_type == "application/problem+json"
    assert "request-id" not in {name for name, _ in response.headers if name == "Request-Id"}


def test_a_wrong_header_is_named(asking: AskingAnthropic) -> None:
    response = asking.post(headers={"X-Clinvk-Tools": "all"})
    assert response.status_code == 400
    assert "X-Clinvk-Tools: must be one of none, cli" in response.text


def test_a_model_that_could_be_a_flag_is_refused(asking: AskingAnthropic) -> None:
    assert asking.refused(model="claude/-p").startswith("model: ")


@pytest.mark.parametrize("key", [None, "wrong"])
def test_who_has_no_key_gets_in_nowhere_but_may_probe(key: str | None) -> None:
    client = fake_app(FakeRuns({}), keys=["a-key-of-some-length"]).test_client()
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    for response in (
        client.post(URL, json=HELLO, headers=headers),
        client.get("/anthropic/v1/models", headers=headers),
    ):
        assert response.status_code == 401
        assert response.json is not None
        assert response.json["error"]["type"] == "authentication_error"
    assert client.head("/anthropic", headers=headers).status_code == 200


def test_the_message_of_a_wrong_body_says_where_it_is_wrong(asking: AskingAnthropic) -> None:
    response = asking.client.post(
        URL, data=b'{"model": "x", "messages": [{"role": "user"', content_type="application/json"
    )
    assert response.status_code == 400
    assert response.json is not None
    assert re.search(r"body: is not valid JSON.*line 1", response.json["error"]["message"])
