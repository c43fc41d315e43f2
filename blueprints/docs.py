"""``/docs``: /openapi.json as a page for people, to read and to try.

Swagger UI shows it, from the files that the package ``flask-swagger-ui`` carries; its own blueprint, which writes a
script into the page, is not used.  Everything comes from this server, by addresses relative to the page: no other host
is asked for anything, and a proxy may put a prefix before all of it.
"""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, request

PAGE = "/docs"
OURS = Path(__file__).with_name("docs_page")
SWAGGER_UI = Path(flask_swagger_ui.__file__).with_name("dist")
KINDS = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
ASSETS = {
    "swagger-ui-bundle.js": SWAGGER_UI,
    "swagger-ui.css": SWAGGER_UI,
    "docs.js": OURS,
    "docs.css": OURS,
    "icon.svg": OURS,
}
"""What the page loads, by the folder it lies in."""
OPEN_PATHS = frozenset({PAGE, *(f"{PAGE}/{name}" for name in ASSETS)})
"""All there is of the page; whoever may not know a key may know it."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Somebody types a key into the page: no script runs in it but what we serve, it sends nothing elsewhere, and no other
page can show it in a frame.  (``data:`` are the icons in the style sheet of Swagger UI.)"""

blueprint = Blueprint("docs", __name__)


@dataclass(frozen=True, slots=True)
class File:
    """What is sent of a file: it was read once, so no connection holds it open however slow it is."""

    data: bytes
    kind: str
    etag: str


@cache
def read(path: Path) -> File:
    """A file of the page."""
    data = path.read_bytes()
    return File(data, KINDS[path.suffix], sha256(data).hexdigest())


@blueprint.get(PAGE)
def page() -> Response:
    """The page."""
    return _send(OURS / "docs.html")


@blueprint.get(f"{PAGE}/<any({', '.join(repr(name) for name in ASSETS)}):name>")
def asset(name: str) -> Response:
    """What the page loads."""
    return _send(ASSETS[name] / name)


def _send(path: Path) -> Response:
    """A file, or that it is still what the browser has: it is to ask each time."""
    file = read(path)
    response = Response(file.data, content_type=f"{file.kind}; charset=utf-8")
    response.headers.update(HEADERS)
    response.cache_control.no_cache = True
    response.set_etag(file.etag)
    response.make_conditional(request)
    return response
