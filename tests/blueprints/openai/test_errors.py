"""Errors in OpenAI's shape, on every path below /openai."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from services.backends.base import Backend
from services.errors import STATUS, ClinvkError, ErrorCode
from tests.blueprints.openai.asking import URL, AskingOpenAI
from tests.support.fake_runs import FakeRuns, fake_app, saying

INVALID = "invalid_request_error"
TABLE: dict[ErrorCode, tuple[str, str | None]] = {
    ErrorCode.UNKNOWN_BACKEND: (INVALID, "model_not_found"),
    ErrorCode.UNKNOWN_MODEL: (INVALID, "model_not_found"),
    ErrorCode.CONTEXT_TOO_LONG: (INVALID, "context_length_exceeded"),
    ErrorCode.NOT_FOUND: (INVALID, "not_found"),
    ErrorCode.SESSION_NOT_FOUND: (INVALID, "not_found"),
    ErrorCode.UNAUTHORIZED: ("authentication_error", "invalid_api_key"),
    ErrorCode.RATE_LIMITED: ("rate_limit_error", "rate_limit_exceeded"),
    ErrorCode.BACKEND_UNAVAILABLE: ("server_error", "overloaded"),
    ErrorCode.OVERLOADED: ("server_error", "overloaded"),
    ErrorCode.TIMEOUT: ("server_error", "timeout"),
}
"""Types and codes that clients tell errors apart by."""
TYPES: dict[ErrorCode, str] = {
    ErrorCode.INVALID_REQUEST: INVALID,
    ErrorCode.FLAG_NOT_ALLOWED: INVALID,
    ErrorCode.WORKDIR_NOT_ALLOWED: INVALID,
    ErrorCode.METHOD_NOT_ALLOWED: INVALID,
    ErrorCode.PAYLOAD_TOO_LARGE: INVALID,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: INVALID,
    ErrorCode.SESSION_EXPIRED: INVALID,
    ErrorCode.ORIGIN_NOT_ALLOWED: "permission_error",
    ErrorCode.SESSION_BUSY: "conflict",
    ErrorCode.AMBIGUOUS_ID: "conflict",
    ErrorCode.CANCELED: "conflict",
    ErrorCode.BACKEND_FAILED: "api_error",
    ErrorCode.BACKEND_AUTH_FAILED: "api_error",
    ErrorCode.INTERNAL: "api_error",
}
WAITS = {ErrorCode.RATE_LIMITED, ErrorCode.OVERLOADED}
IN_VAIN = {ErrorCode.UNAUTHORIZED, ErrorCode.BACKEND_UNAVAILABLE, ErrorCode.INTERNAL}


def error(response: TestResponse) -> dict[str, Any]:
    """The error of a response, which has all four members."""
    assert response.content_type == "application/json"
    assert response.json is not None
    assert set(response.json) == {"error"}
    found: dict[str, Any] = response.json["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


@pytest.mark.parametrize("code", list(ErrorCode))
def test_what_keeps_a_run_from_beginning(asking: AskingOpenAI, code: ErrorCode) -> None:
    response = asking.post(script=ClinvkError(code, "this is why"))
    assert response.status_code == STATUS[code]
    told = error(response)
    assert (told["message"], told["param"]) == ("this is why", None)
    if code in TABLE:
        assert (told["type"], told["code"]) == TABLE[code]
    else:
        assert told["type"] == TYPES.get(code, told["type"])
    assert ("Retry-After" in response.headers) == (code in WAITS)
    assert ("X-Should-Retry" in response.headers) == (code in IN_VAIN)
    assert response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/openai/v1/nothing", 404),
        ("POST", "/openai/v1/embeddings", 404),
        ("GET", "/openai/", 404),
        ("GET", URL, 405),
        ("POST", "/openai/v1/models", 405),
    ],
)
def test_what_is_not_there(asking: AskingOpenAI, method: str, path: str, status: int) -> None:
    response = asking.client.open(path, method=method, json={})
    assert response.status_code == status
    assert error(response)["type"] == INVALID
    assert ("Allow" in response.headers) == (status == 405)


def test_a_path_that_only_begins_alike_is_answered_natively(asking: AskingOpenAI) -> None:
    assert asking.client.get("/openair").content_type == "application/problem+json"


def test_a_wrong_key() -> None:
    client = fake_app(FakeRuns({"claude": saying("x")}), keys=["right"]).test_client()
    response = client.post(URL, json={}, headers={"Authorization": "Bearer wrong"})
    assert response.status_code == 401
    assert (error(response)["type"], error(response)["code"]) == TABLE[ErrorCode.UNAUTHORIZED]
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_text_that_the_cli_cannot_take_is_named_where_it_stands(
    asking: AskingOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backend, "max_prompt_bytes", 5)
    said = [
        {"role": "user", "content": "short"},
        {"role": "user", "content": "longer"},
        {"role": "system", "content": "x"},
    ]
    param, message = asking.refused(messages=said)
    assert param == "messages[1].content"
    assert "no more than 5" in message


@pytest.mark.parametrize("member", ["tool_calls", "function_call", "audio"])
def test_what_an_earlier_answer_had_beside_its_text_is_refused_by_name(asking: AskingOpenAI, member: str) -> None:
    earlier = {"role": "assistant", "content": None, member: {"id": "1"}}
    user = {"role": "user", "content": "x"}
    assert asking.refused(messages=[user, earlier, user])[0] == f"messages[1].{member}"


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_limit_that_does_nothing_has_the_clients_name(asking: AskingOpenAI, limit: str) -> None:
    body: dict[str, Any] = {limit: 5}
    assert asking.post(**body).headers["X-Clinvk-Ignored"] == limit


def test_names_of_people_do_nothing(asking: AskingOpenAI) -> None:
    response = asking.post(messages=[{"role": "user", "content": "x", "name": "ada"}])
    assert response.headers["X-Clinvk-Ignored"] == "messages.name"


def test_a_models_modes_do_nothing(asking: AskingOpenAI) -> None:
    modes = {"X-Clinvk-Approval-Mode": "auto", "X-Clinvk-Sandbox-Mode": "full"}
    told = asking.post(headers=modes).headers["X-Clinvk-Ignored"]
    assert told == "x-clinvk-approval-mode, x-clinvk-sandbox-mode"
    assert "X-Clinvk-Ignored" not in asking.post(headers=modes | {"X-Clinvk-Tools": "cli"}).headers
