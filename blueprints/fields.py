"""Fields of requests: strict, documented, and safe to give anything to."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import marshmallow as ma
from marshmallow import fields
from marshmallow.validate import Length, OneOf, Range

LARGEST_NUMBER = 2**31 - 1
MOST_WRONG = 20
"""Members of a list that are told to be wrong; there may be millions."""

Given = TypeVar("Given")
Loaded = TypeVar("Loaded")


def about(description: str) -> dict[str, str]:
    """The documentation of a field."""
    return {"description": description}


def each(members: Iterable[Given], load: Callable[[Given], Loaded]) -> list[Loaded]:
    """Load every member of a list.  Raises ValidationError with the first wrong ones by their places."""
    loaded: list[Loaded] = []
    wrong: dict[int, Any] = {}
    for place, member in enumerate(members):
        try:
            loaded.append(load(member))
        except ma.ValidationError as error:
            wrong[place] = error.messages
            if len(wrong) == MOST_WRONG:
                break
    if wrong:
        raise ma.ValidationError(wrong)
    return loaded


class Flag(fields.Boolean):
    """``true`` or ``false`` and nothing that resembles them."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Number(fields.Float):
    """A number, not a text that looks like one."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> float:
        if not isinstance(value, int | float):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, *args, **kwargs)


class Many(fields.List[Any]):
    """A list whose length is looked at before its members are."""

    def __init__(self, inner: fields.Field[Any], *, least: int = 0, most: int, **kwargs: Any) -> None:
        self._length = Length(least, most)
        super().__init__(inner, validate=self._length, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        if not isinstance(value, list):
            raise self.make_error("invalid")
        self._length(value)
        return each(value, lambda member: self.inner.deserialize(member, **kwargs))


class Texts(fields.Dict):
    """An object of strings, such as metadata."""

    def __init__(self, *, most: int, **kwargs: Any) -> None:
        self._length = Length(max=most)
        super().__init__(keys=fields.String(), values=fields.String(), validate=self._length, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        self._length(value)
        wrong = {key: ["Not a valid string."] for key, text in value.items() if not isinstance(text, str)}
        if wrong:
            raise ma.ValidationError(wrong)
        return value


def required_text(description: str) -> fields.String:
    """A text that must be there and not be empty."""
    return fields.String(required=True, validate=Length(1, error="Must not be empty."), metadata=about(description))


def text(description: str) -> fields.String:
    """An optional text; empty leaves it to the configuration and the CLI."""
    return fields.String(load_default="", metadata=about(description))


def count(description: str, most: int = LARGEST_NUMBER) -> fields.Integer:
    """A number of things; 0 leaves it to the configuration and the CLI."""
    return fields.Integer(strict=True, load_default=0, validate=Range(0, most), metadata=about(description))


def choice(values: tuple[str, ...], description: str) -> fields.String:
    """One of a few words, of which ``default`` is one."""
    return fields.String(load_default="default", validate=OneOf(values), metadata=about(description))


def flag(description: str) -> Flag:
    """Off unless switched on."""
    return Flag(load_default=False, metadata=about(description))


class DialectSchema(ma.Schema):
    """What is at the address of a dialect."""

    name = fields.String(metadata=about("Always `clinvk`."))
    description = fields.String(metadata=about("The API that is spoken here."))
    models = fields.String(metadata=about("Where its models are listed."))
