"""Who comes in: what is judged of a request before anything is done for it."""

from flask import Flask, g, request
from flask_cors import CORS

from blueprints import docs
from blueprints.limits import RateLimits
from services.errors import ClinvkError, ErrorCode
from services.key_ring import KeyRing
from services.network import Hosts, Origins, client_address, networks, subscriber
from services.settings import ServerSettings

OPEN_PATHS = {"/health", "/openapi.json", "/metrics", *docs.OPEN_PATHS}
PROBES = {"/", "/openai", "/anthropic"}
OUR_HEADERS = (
    "X-Request-Id", "Request-Id", "Retry-After", "X-Should-Retry", "WWW-Authenticate",
    "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
    "X-Clinvk-Run", "X-Clinvk-Session", "X-Clinvk-Ignored", "X-Clinvk-Usage",
)  # fmt: skip
"""What a web page that may call us may read of an answer."""


class Gate:
    """Judges requests by the configuration: Host, Origin, key, rate."""

    def __init__(self, app: Flask, server: ServerSettings, keys: KeyRing) -> None:
        self._keys = keys
        self._trusted = networks(server.trusted_proxies)
        self._hosts = Hosts(server.allowed_hosts)
        self._origins = Origins(server.cors_allowed_origins)
        app.before_request(self.admit)  # the limits come after it: by then it is known who asks
        self._limits = RateLimits(app, server)
        CORS(
            app,
            origins=list(self._origins.patterns),
            supports_credentials=server.cors_allow_credentials,
            max_age=server.cors_max_age,
            expose_headers=list(OUR_HEADERS),
        )

    def admit(self) -> None:
        """Let a request in, and note whose it is.  Raises ClinvkError."""
        g.owner = ""
        forwarded_for = ",".join(request.headers.getlist("X-Forwarded-For"))
        g.address = subscriber(client_address(request.remote_addr or "", forwarded_for, self._trusted))
        self._check_host()
        self._check_origin()
        if self._keys.required and not _is_open():
            g.owner = self._owner()

    def _check_host(self) -> None:
        """Without keys, what calls us by a foreign name is a page whose name was made to point here."""
        if self._keys.required or request.path == "/health":
            return
        if not self._hosts.allows(request.host, _own_address()):
            message = f"this server is not called {request.host[:100]!r}: server.allowed_hosts can name it"
            raise ClinvkError(ErrorCode.ORIGIN_NOT_ALLOWED, message)

    def _check_origin(self) -> None:
        origin = request.headers.get("Origin")
        if origin is None or request.path == "/health" or self._origins.allows(origin):
            return
        if origin.lower() != f"{request.scheme}://{request.host}".lower():
            message = f"pages of {origin[:100]!r} may not call this server: server.cors_allowed_origins can name it"
            raise ClinvkError(ErrorCode.ORIGIN_NOT_ALLOWED, message)

    def _owner(self) -> str:
        self._limits.check_guesses(g.address)
        try:
            return self._keys.owner_of(_presented_key())
        except ClinvkError:
            self._limits.count_guess(g.address)
            raise


def _is_open() -> bool:
    """Whether the request needs no key: those that say how the server is and what it can, and a browser's preflight."""
    probe = request.method == "HEAD" and request.path in PROBES
    return probe or request.method == "OPTIONS" or request.path in OPEN_PATHS


def _presented_key() -> str:
    """The key of the request; ``X-Api-Key`` decides when there are two."""
    key = request.headers.get("X-Api-Key")
    if key is not None:
        return key
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _own_address() -> str:
    """The address at which the connection came in; "" where there is none (a unix socket, a test client)."""
    socket = request.environ.get("gunicorn.socket")
    name = socket.getsockname() if socket is not None else ""
    return str(name[0]) if isinstance(name, tuple) else ""
