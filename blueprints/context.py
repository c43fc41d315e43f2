"""The services of the application that answers the current request."""

from flask import Flask, current_app

from services.container import Container

EXTENSION = "clinvk"


def provide(app: Flask, container: Container) -> None:
    """Let the views of an application find its services."""
    app.extensions[EXTENSION] = container


def services() -> Container:
    """The services; only while a request is being handled, not in a stream that outlives it."""
    container: Container = current_app.extensions[EXTENSION]
    return container
