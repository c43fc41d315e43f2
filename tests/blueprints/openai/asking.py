"""Requests to the OpenAI routes, answered by runs without processes."""

from typing import Any

from tests.blueprints.asking import Asking

URL = "/openai/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "claude", "messages": [{"role": "user", "content": "Hello!"}]}


class AskingOpenAI(Asking):
    """An application that is asked for chat completions."""

    url = URL
    hello = HELLO

    def refused(self, **fields: Any) -> tuple[str, str]:
        """The ``param`` and the message of the 400 that such a request gets."""
        error = self.error(**fields)
        return error["param"], error["message"]
