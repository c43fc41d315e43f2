"""Loaded by schemathesis: lets requests name a backend that is there, which no document can know."""

from typing import Any

import schemathesis

BACKEND = "demo"


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """The body with every backend replaced that is one by its type."""
    return _named(body)


def _named(value: Any) -> Any:
    if isinstance(value, list):
        return [_named(member) for member in value]
    if not isinstance(value, dict):
        return value
    named = {key: _named(member) for key, member in value.items()}
    if isinstance(named.get("backend"), str):
        named["backend"] = BACKEND
    if isinstance(backends := named.get("backends"), list) and len(backends) == 1 and isinstance(backends[0], str):
        named["backends"] = [BACKEND]
    return named
