"""Requests to the Anthropic routes, answered by runs without processes."""

import json
from typing import Any

from tests.blueprints.asking import Asking
from tests.conformance.streams import events_of

URL = "/anthropic/v1/messages"
HELLO: dict[str, Any] = {
    "model": "claude",
    "max_tokens": 2048,
    "messages": [{"role": "user", "content": "Hello!"}],
}


class AskingAnthropic(Asking):
    """An application that is asked for messages."""

    url = URL
    hello = HELLO

    def __init__(self) -> None:
        super().__init__()
        for backend in self.runs.backends.values():
            backend.takes_messages = True

    def refused(self, **fields: Any) -> str:
        """The message of the 400 that such a request gets."""
        return str(self.error(**fields)["message"])

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        """The bodies of the events of such a stream."""
        response = self.post(stream=True, **fields)
        assert response.status_code == 200, response.text
        events = events_of(response.data)
        bodies: list[dict[str, Any]] = [json.loads(event.data) for event in events]
        assert [event.event for event in events] == [body["type"] for body in bodies]
        return bodies
