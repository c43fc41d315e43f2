"""Settings for ``gunicorn wsgi:app``, the same that ``clinvk serve`` has: see app/server.py."""

from app.server import settings_in_force

globals().update(settings_in_force())
