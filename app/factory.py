"""The application, wired: the only place that knows both the services and the blueprints."""

import os
from typing import Any

import orjson
from flask import Flask
from flask.json.provider import JSONProvider
from prometheus_client import CollectorRegistry

from app import __version__
from app.spans import run_spans
from blueprints import docs, meta, requests
from blueprints import metrics as metrics_page
from blueprints.anthropic import errors as anthropic_errors
from blueprints.anthropic import routes as anthropic
from blueprints.api import Api
from blueprints.context import provide
from blueprints.gate import Gate
from blueprints.metrics import EXTENSION as METRICS
from blueprints.metrics import Metrics
from blueprints.native import records
from blueprints.native import routes as native
from blueprints.openai import errors as openai_errors
from blueprints.openai import routes as openai
from blueprints.telling import Teller
from services.container import Container, create_container
from services.settings import Config


class FastJson(JSONProvider):
    """JSON by orjson."""

    def dumps(self, obj: Any, **_: Any) -> str:
        """The JSON text of a value."""
        return orjson.dumps(obj, option=orjson.OPT_UTC_Z).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """The value of a JSON text."""
        return orjson.loads(s)


def create_app(config: Config, *, container: Container | None = None) -> Flask:
    """The WSGI application.  ``container`` brings the services; by default real ones are made."""
    app = Flask("clinvk", static_folder=None)
    app.json = FastJson(app)
    app.url_map.merge_slashes = False  # a redirect would not be JSON
    app.config.update(
        API_TITLE="clinvk",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        MAX_CONTENT_LENGTH=config.server.max_request_body_bytes or None,  # 0: any size
    )
    metrics = _metrics(app, config) if config.server.metrics_enabled else None
    tell = [*([metrics.runs.tell] if metrics else []), *run_spans(os.environ)]
    tell_waiting = metrics.runs.set_waiting if metrics else lambda _: None
    container = container or create_container(config, __version__, tell=tell, tell_waiting=tell_waiting)
    provide(app, container)
    requests.install(app)
    Gate(app, config.server, container.keys)
    app.before_request(requests.require_json)
    api = Api(
        app,
        envelopes={"/openai": openai_errors.envelope, "/anthropic": anthropic_errors.envelope},
        keys_required=container.keys.required,
    )
    Teller(app, metrics)
    for blueprint in (native.blueprint, records.blueprint, openai.blueprint, anthropic.blueprint):
        api.register_blueprint(blueprint)
    for prefix in anthropic.ALIASES:
        api.register_blueprint(anthropic.blueprint, url_prefix=prefix, name=f"Anthropic at {prefix}")
    api.register_blueprint(meta.blueprint)
    api.register_blueprint(metrics_page.blueprint)
    app.register_blueprint(docs.blueprint)
    return app


def _metrics(app: Flask, config: Config) -> Metrics:
    """What this application counts, in a registry of its own."""
    backends = [name for name, backend in config.backends.items() if backend.enabled]
    metrics = Metrics(CollectorRegistry(), backends, __version__)
    app.extensions[METRICS] = metrics
    return metrics
