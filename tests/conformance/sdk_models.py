"""Loads bodies into the models of the official Anthropic SDK, as strictly as pydantic can."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def faults(kind: Any, body: bytes | str) -> list[str]:
    """What JSON has against a model or a union of models: empty when it loads and has no unknown member."""
    try:
        loaded = _adapter(kind).validate_json(body, strict=True)
    except ValidationError as error:
        return [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return list(unknown(loaded, "$"))


def unknown(value: Any, at: str) -> Iterator[str]:
    """The members that no model names.  The SDK's models keep them, so that old clients read new answers."""
    match value:
        case BaseModel():
            yield from (f"{at}.{name}: unknown" for name in value.model_extra or {})
            for name in type(value).model_fields:
                yield from unknown(getattr(value, name), f"{at}.{name}")
        case list():
            for number, item in enumerate(value):
                yield from unknown(item, f"{at}[{number}]")
