"""Requests to a chat API, answered by runs without processes."""

from typing import Any, ClassVar

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.fake_runs import FakeRun, FakeRuns, Script, fake_app, saying


class Asking:
    """One application whose backends do what a test has written for them; ``hello`` is the usual body for ``url``."""

    url: ClassVar[str]
    hello: ClassVar[dict[str, Any]]

    def __init__(self) -> None:
        self.runs = FakeRuns({name: saying("Hi", " there") for name in ("claude", "codex", "gemini")})
        self.client: FlaskClient = fake_app(self.runs).test_client()

    def post(
        self, *, script: Script | None = None, headers: dict[str, str] | None = None, **fields: Any
    ) -> TestResponse:
        """Post the usual body with these fields; one that is ``...`` is left out."""
        if script is not None:
            self.runs.scripts["claude"] = script
        body = {name: value for name, value in (self.hello | fields).items() if value is not ...}
        return self.client.post(self.url, json=body, headers=headers)

    def started(self, **fields: Any) -> FakeRun:
        """The run that such a request starts."""
        response = self.post(**fields)
        assert response.status_code == 200, response.text
        return self.runs.started[-1]

    def error(self, **fields: Any) -> dict[str, Any]:
        """The error in the 400 that such a request gets; nothing is run."""
        before = len(self.runs.started)
        response = self.post(**fields)
        assert response.status_code == 400, response.text
        assert response.json is not None
        error: dict[str, Any] = response.json["error"]
        assert error["type"] == "invalid_request_error"
        assert len(self.runs.started) == before
        return error
