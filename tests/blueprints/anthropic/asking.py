"""Requests to the Anthropic routes, answered by runs without processes."""

import json
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conformance.streams import events_of
from tests.support.fake_runs import FakeRun, FakeRuns, Script, fake_app, saying

URL = "/anthropic/v1/messages"
HELLO: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 2048,
    "messages": [{"role": "user", "content": "Hello!"}],
}


class Asking:
    """One application whose backends do what a test has written for them."""

    def __init__(self) -> None:
        self.runs = FakeRuns({name: saying("Hi", " there") for name in ("claude", "codex", "gemini")})
        for backend in self.runs.backends.values():
            backend.takes_messages = True
        self.client: FlaskClient = fake_app(self.runs).test_client()

    def post(
        self, *, script: Script | None = None, headers: dict[str, str] | None = None, **fields: Any
    ) -> TestResponse:
        """Post the usual body with these fields; one that is ``...`` is left out."""
        if script is not None:
            self.runs.scripts["claude"] = script
        body = {name: value for name, value in (HELLO | fields).items() if value is not ...}
        return self.client.post(URL, json=body, headers=headers)

    def started(self, **fields: Any) -> FakeRun:
        """The run that such a request starts."""
        response = self.post(**fields)
        assert response.status_code == 200, response.text
        return self.runs.started[-1]

    def refused(self, **fields: Any) -> str:
        """The message of the 400 that such a request gets; nothing is run."""
        before = len(self.runs.started)
        response = self.post(**fields)
        assert response.status_code == 400, response.text
        assert response.json is not None
        assert response.json["error"]["type"] == "invalid_request_error"
        assert len(self.runs.started) == before
        return str(response.json["error"]["message"])

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        """The bodies of the events of such a stream."""
        response = self.post(stream=True, **fields)
        assert response.status_code == 200, response.text
        events = events_of(response.data)
        bodies: list[dict[str, Any]] = [json.loads(event.data) for event in events]
        assert [event.event for event in events] == [body["type"] for body in bodies]
        return bodies
