"""Bodies that are wrong: any JSON, and valid documents with something else in one place."""

import copy
from typing import Any

from hypothesis import strategies as st

Place = tuple[str | int, ...]
"""The way to a value in a document: keys and indices."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
NO_OBJECTS = (b"{}", b"[]", b"null", b'"x"', b"1", b"", b"{" * 50_000, b'{"prompt": "\xff"}')
"""Bodies that are no object, or an empty one."""


def places(value: Any, at: Place = ()) -> list[Place]:
    """Where in a document something may be put."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [at, *(place for key in keys for place in places(value[key], (*at, key)))] if at or keys else [at]


def changed(document: Any, place: Place, new: Any) -> Any:
    """The document with another value in one place."""
    if not place:
        return new
    document = copy.deepcopy(document)
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = new
    return document


def written(place: Place) -> str:
    """A place as error messages name it."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place).removeprefix(".")
