"""The WSGI application: ``gunicorn wsgi:app``, or any other server."""

from app.factory import create_app
from app.source import share_of_worker, source

app = create_app(share_of_worker(source.current()))
