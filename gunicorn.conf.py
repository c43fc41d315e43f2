"""Settings for ``gunicorn wsgi:app``, the same that ``clinvk serve`` has: see app/server.py."""

from app.server import settings_for_gunicorn

globals().update(settings_for_gunicorn())
