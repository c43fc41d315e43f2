"""flask-smorest with our errors, our JSON and types.

Schemas validate, document and load into dataclasses; everything that can go wrong on the way becomes a
:class:`~services.errors.ClinvkError`.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NoReturn, TypeVar

import flask_smorest
import marshmallow as ma
from flask import Flask, Request, Response, g, request
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException

from blueprints import sse
from blueprints.api_document import Example, options, server_sent
from blueprints.context import services
from blueprints.errors import PROBLEM_JSON, Envelope, ErrorResponses, ProblemSchema
from blueprints.json_input import parse_json, problems_of
from blueprints.requests import read_body
from services.errors import ClinvkError, ErrorCode

View = TypeVar("View", bound=Callable[..., Any])
MAX_PROBLEMS = 20
LARGE_BYTES = 64 * 1024


class Parser(FlaskParser):
    """Reads arguments strictly, and says what is wrong by field."""

    DEFAULT_VALIDATION_STATUS = 400
    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {  # noqa: RUF012 - as in the base
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": ma.RAISE,
    }

    _large = threading.Lock()
    """Held by who works on a large body: a crowd of them would share the processor, and need memory, all at once."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        """Load what a view asks for; of large bodies one at a time, once they are here."""
        with ExitStack() as stack:
            g.until_loaded = stack
            if is_loaded := request.environ.get("clinvk.body_is_loaded"):
                stack.callback(is_loaded)
            return super().parse(*args, **kwargs)

    def load_json(self, req: Request, schema: ma.Schema) -> Any:  # noqa: ARG002
        """The body of a request, which must be an object."""
        raw = read_body(req)
        if len(raw) > LARGE_BYTES:
            g.until_loaded.enter_context(self._large)
        body = parse_json(raw)
        if not isinstance(body, dict):
            raise ClinvkError.field("body", "must be a JSON object")
        return body

    def handle_error(self, error: ma.ValidationError, *_: Any, **__: Any) -> NoReturn:
        """Raise ClinvkError for what a schema did not like."""
        by_location = error.messages if isinstance(error.messages, dict) else {}
        problems = [problem for messages in by_location.values() for problem in problems_of(messages)]
        shown = [f"{problem.location}: {problem.message}" for problem in problems[:MAX_PROBLEMS]]
        message = "; ".join(shown)
        raise ClinvkError(ErrorCode.INVALID_REQUEST, message, problems=tuple(problems[:MAX_PROBLEMS]))


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # flask-smorest has no types
    """A blueprint whose decorators keep a view's type."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, *args: Any, errors: type[ma.Schema] | None = None, stream_end: str = "", **options: Any) -> None:
        """``errors`` is what the dialect's errors look like, where they are not the native ones.

        ``stream_end`` are the data of the last of its server-sent events, where they are no JSON.
        """
        super().__init__(*args, **options)
        self._stream_end = stream_end
        self._prepare_doc_cbks += [_prepare_examples_doc, self._prepare_streams_doc]
        if errors is not None:
            self._errors = errors
            self._prepare_doc_cbks.append(self._prepare_errors_doc)

    def _prepare_errors_doc(self, doc: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        """Document the dialect's errors in the place of the native ones."""
        own = {"description": "What went wrong.", "content": {"application/json": {"schema": self._errors}}}
        answers = {status: own if _is_error(status) else its for status, its in doc["responses"].items()}
        return doc | {"responses": answers}

    def _prepare_streams_doc(self, doc: dict[str, Any], *_: Any, api: Any, **__: Any) -> dict[str, Any]:
        """Document that the data of server-sent events are what the view says, not the events themselves."""
        for answer in doc["responses"].values():
            streamed = answer.get("content", {}).get(sse.CONTENT_TYPE) if isinstance(answer, dict) else None
            if streamed is not None:
                data = api.ma_plugin.resolver.resolve_schema_dict(streamed["schema"])
                streamed["schema"] = server_sent(data, self._stream_end)
        return doc

    def register_views_in_doc(self, api: "Api", *args: Any, **options: Any) -> None:
        """Document the views, when somebody reads the document."""
        api.document_later(partial(super().register_views_in_doc, api, *args, **options))

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        """Serve and document a view."""
        decorate: Callable[[View], View] = super().route(rule, **options)
        return decorate

    def arguments(
        self, schema: type[ma.Schema], *, examples: Mapping[str, Example] | None = None, **options: Any
    ) -> Callable[[View], View]:
        """Load the request's arguments with a schema and pass them to the view; ``examples`` are for people."""
        # one instance for all requests: to make one takes longer than to load with it
        load: Callable[[View], View] = super().arguments(schema(), **options)

        def decorate(view: View) -> View:
            loading: Any = load(view)
            loading._apidoc["examples"] = examples or {}
            decorated: View = loading
            return decorated

        return decorate

    def heeds(self, headers: Mapping[str, Mapping[str, Any]]) -> Callable[[View], View]:
        """Document the headers of a request that a view looks at, by name."""
        parameters = [{"in": "header", "name": name, **its} for name, its in headers.items()]
        decorate: Callable[[View], View] = super().doc(parameters=parameters)
        return decorate

    def keyless(self, view: View) -> View:
        """Document that a view needs no key; that it needs none is for the gate to say."""
        documented: View = super().doc(security=[])(view)
        return documented

    def response(self, status_code: int, schema: Any = None, **options: Any) -> Callable[[View], View]:
        """Document the view's answer."""
        decorate: Callable[[View], View] = super().response(status_code, schema, **options)
        return decorate

    def alt_response(self, status_code: int, response: Any = None, **options: Any) -> Callable[[View], View]:
        """Document another answer of the view."""
        decorate: Callable[[View], View] = super().alt_response(status_code, response, **options)
        return decorate


def _prepare_examples_doc(doc: dict[str, Any], info: Mapping[str, Any], **_: Any) -> dict[str, Any]:
    """Document examples of bodies, for a backend that can answer here."""
    examples: Mapping[str, Example] = info.get("examples", {})
    if examples:
        backend = next((its.name for its in services().availability.statuses() if its.enabled and its.available), "")
        backend = backend or services().config.default_backend
        shown = {name: {"value": example(backend)} for name, example in examples.items()}
        for content in doc["requestBody"]["content"].values():
            content["examples"] = shown
    return doc


def _is_error(status: int | str) -> bool:
    return status == "default" or int(status) >= 400


class Api(flask_smorest.Api):  # type: ignore[misc]  # flask-smorest has no types
    """The registry of blueprints and of their documentation, which also answers errors."""

    ERROR_SCHEMA = ProblemSchema
    DEFAULT_RESPONSE_CONTENT_TYPE: str = "application/json"

    def __init__(self, app: Flask, envelopes: Mapping[str, Envelope], *, keys_required: bool) -> None:
        """``envelopes`` maps the path prefix of a dialect to its error envelope."""
        app.config["API_SPEC_OPTIONS"] = options(keys_required=keys_required)
        self._errors = ErrorResponses(envelopes)
        self._undocumented: deque[Callable[[], None]] = deque()
        self._documenting = threading.Lock()
        app.register_error_handler(ClinvkError, self._errors.respond)
        super().__init__(app)

    def document_later(self, document: Callable[[], None]) -> None:
        """Do a part of the documentation before it is read: it takes longer than all the rest of the start."""
        self._undocumented.append(document)

    def _openapi_json(self) -> Response:
        with self._documenting:
            while self._undocumented:
                self._undocumented.popleft()()
        served: Response = super()._openapi_json()
        return served

    def _register_responses(self) -> None:
        self.document_later(self._document_errors)

    def _document_errors(self) -> None:
        usual = self.DEFAULT_RESPONSE_CONTENT_TYPE
        self.DEFAULT_RESPONSE_CONTENT_TYPE = PROBLEM_JSON  # the type of the error responses registered here
        super()._register_responses()
        self.DEFAULT_RESPONSE_CONTENT_TYPE = usual

    def handle_http_exception(self, error: HTTPException) -> Response:
        """Answer an error that Flask or Werkzeug raised."""
        return self._errors.respond_to_http(error)
