"""Where the server listens."""

import errno
import os
import socket
import time

PATIENCE_S = 2.0
"""So long may the workers of a server that was killed still listen, until they see that it has gone."""
RETRY_S = 0.05


def bind_address(host: str, port: int) -> str:
    """A host and a port as gunicorn writes them."""
    if host.startswith("unix:"):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def why_not_listen(host: str, port: int) -> str:
    """Why nobody can listen there, now and within :data:`PATIENCE_S`; "" when that is possible."""
    address = bind_address(host, port)
    give_up_s = time.monotonic() + PATIENCE_S
    while (number := _try_to_bind(host, port)) == errno.EADDRINUSE and time.monotonic() < give_up_s:
        time.sleep(RETRY_S)
    match number:
        case 0:
            return ""
        case None:
            return f"cannot listen on {address}: the name is not known"
        case errno.EADDRINUSE:
            return f"{address} is in use: end what listens there, or choose another port (--port, server.port)"
        case _:
            return f"cannot listen on {address}: {os.strerror(number)}"


def _try_to_bind(host: str, port: int) -> int | None:
    """0 when that is possible, else the error's number; None for a name that is not known."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ours.bind((host, port))
    except socket.gaierror:
        return None
    except OSError as error:
        return error.errno or errno.EADDRNOTAVAIL
    return 0
