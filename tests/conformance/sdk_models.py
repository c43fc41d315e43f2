"""Loads bodies into the models of the official Anthropic SDK, as strictly as pydantic can.

The SDK takes long to import: that waits until a body is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@cache
def _adapter(name: str, *, paged: bool) -> TypeAdapter[Any]:
    from anthropic import pagination, types
    from pydantic import TypeAdapter

    kind: Any = getattr(types, name)
    page: Any = pagination.SyncPage
    return TypeAdapter(page[kind] if paged else kind)


def faults(name: str, body: bytes | str, *, paged: bool = False) -> list[str]:
    """What JSON has against a type of ``anthropic.types``, or a page of them.

    Empty when it loads and has no unknown member.
    """
    from pydantic import ValidationError

    try:
        loaded = _adapter(name, paged=paged).validate_json(body, strict=True)
    except ValidationError as error:
        return [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return list(unknown(loaded, "$"))


def unknown(value: Any, at: str) -> Iterator[str]:
    """The members that no model names.  The SDK's models keep them, so that old clients read new answers."""
    from pydantic import BaseModel

    match value:
        case BaseModel():
            yield from (f"{at}.{name}: unknown" for name in value.model_extra or {})
            for name in type(value).model_fields:
                yield from unknown(getattr(value, name), f"{at}.{name}")
        case list():
            for number, item in enumerate(value):
                yield from unknown(item, f"{at}[{number}]")
