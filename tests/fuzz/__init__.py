"""Requests made up from ``/openapi.json`` by schemathesis, which checks every answer against it.  ``make fuzz``."""
