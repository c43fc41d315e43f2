"""Talking to the server: requests, streams of events, and what can go wrong, in words."""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx
import orjson

from app import __version__
from app.client.address import Address
from app.client.errors import EXIT_NO_SERVER, EXIT_USAGE, ClientError, exit_code_of
from services.framing import LineSplitter, LineTooLongError

CONNECT_TIMEOUT_S = 5.0
LONGEST_LINE_BYTES = 256 * 1024 * 1024
LAST_EVENTS = ("done", "error")
SERVER_ERROR = 500
NDJSON = "application/x-ndjson"

Json = dict[str, Any]


class Connection:
    """A server that can be asked; leaving it closes the connection, which ends a run that still goes on.

    Every method raises ClientError.
    """

    def __init__(self, address: Address, key: str = "", *, timeout_s: float | None = None) -> None:
        """``timeout_s`` is how long an answer may take to go on; None: any time."""
        self._address = address
        if address.socket:
            _knock(address)
        headers = {"User-Agent": f"clinvk/{__version__}"} | ({"X-Api-Key": key} if key else {})
        if not key.isascii() or not key.isprintable():
            raise ClientError("the API key has characters that none can have", EXIT_USAGE)
        self._client = httpx.Client(
            base_url=address.url,
            headers=headers,
            transport=httpx.HTTPTransport(uds=address.socket) if address.socket else None,
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            trust_env=not address.is_local,  # no proxy stands between us and our own machine
        )

    def get(self, path: str, **parameters: str | int) -> Json:
        """A resource."""
        with self._told():
            return _object(self._checked(self._client.get(path, params=parameters)).content, self._address)

    def health(self) -> Json:
        """How the server is, also when it is not well."""
        with self._told():
            answer = self._client.get("/health")
        told = _object(answer.content, self._address)
        if "version" not in told or "session_store" not in told:
            raise _stranger(self._address)
        return told

    def post(self, path: str, body: Mapping[str, Any]) -> Json:
        """The answer to a request."""
        with self._told():
            answer = self._client.post(path, content=_written(body), headers={"Content-Type": "application/json"})
            return _object(self._checked(answer).content, self._address)

    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Json]:
        """The events of a request as they come; the last one is ``done`` or ``error``."""
        request = self._client.build_request(
            "POST", path, content=_written(body), headers={"Content-Type": "application/json"}
        )
        lines = LineSplitter(LONGEST_LINE_BYTES)  # not httpx's own, which end at U+2028 and the like
        with self._told():
            answer = self._client.send(request, stream=True)
            try:
                if not answer.is_success:
                    answer.read()
                self._checked(answer)
                if answer.headers.get("Content-Type") != NDJSON:
                    raise _stranger(self._address)
                for chunk in answer.iter_bytes():
                    for line in lines.feed(chunk):
                        event = _object(line, self._address)
                        yield event
                        if "task" not in event and event.get("type") in LAST_EVENTS:
                            return
            finally:
                answer.close()
        raise ClientError(f"the server at {self._address} broke the answer off")

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        raise _refusal(answer, self._address)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what goes wrong on the way into what a person can do about it."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _nobody(self._address) from error
        except httpx.ReadTimeout as error:
            raise ClientError(f"the server at {self._address} does not answer in time", EXIT_NO_SERVER) from error
        except httpx.HTTPError as error:
            raise ClientError(f"the connection to {self._address} broke off: {error}") from error
        except LineTooLongError as error:
            raise ClientError(f"the server at {self._address} sent a line that is too long") from error

    def close(self) -> None:
        """Close the connection.  Idempotent."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _knock(address: Address) -> None:
    """See that somebody listens at a unix socket: httpx would leave its own open when nobody does."""
    with socket.socket(socket.AF_UNIX) as ours:
        try:
            ours.connect(address.socket)
        except OSError as error:
            raise _nobody(address) from error


def _nobody(address: Address) -> ClientError:
    message = f"no server answers at {address}: start one with `clinvk serve`, or name another with --url or CLINVK_URL"
    return ClientError(message, EXIT_NO_SERVER)


def _written(body: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(dict(body))
    except orjson.JSONEncodeError as error:  # bytes of the command line that are no text
        raise ClientError("what was given is not UTF-8", EXIT_USAGE) from error


def _object(body: bytes, address: Address) -> Json:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise _stranger(address)
    return value


def _stranger(address: Address) -> ClientError:
    return ClientError(f"what answers at {address} is no clinvk server", EXIT_NO_SERVER)


def _refusal(answer: httpx.Response, address: Address) -> ClientError:
    """The error for an answer that is none: what the server says of it."""
    try:
        problem = json.loads(answer.content)
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "detail" not in problem:
        return _stranger(address)
    message = str(problem["detail"])
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        message += " (set CLINVK_API_KEY)"
    if wait_s := answer.headers.get("Retry-After"):
        message += f" (try again in {wait_s} s)"
    if answer.status_code >= SERVER_ERROR:
        message += f" [request {problem.get('request_id', '')}]"
    code = problem.get("exit_code")
    return ClientError(message, exit_code_of(code if isinstance(code, int) else 0))
