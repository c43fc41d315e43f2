"""Where the server listens."""

import errno
import os
import socket


def bind_address(host: str, port: int) -> str:
    """A host and a port as gunicorn writes them."""
    if host.startswith("unix:"):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def why_not_listen(host: str, port: int) -> str:
    """Why nobody can listen there now; "" when that is possible."""
    address = bind_address(host, port)
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ours.bind((host, port))
    except socket.gaierror:
        return f"cannot listen on {address}: the name is not known"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"{address} is in use: end what listens there, or choose another port (--port, server.port)"
        return f"cannot listen on {address}: {os.strerror(error.errno or 0)}"
    return ""
