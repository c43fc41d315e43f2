"""The content of messages: a text, or blocks of which this server takes those of text."""

from typing import Any

from marshmallow import ValidationError, fields

from blueprints.fields import each

NOT_YET = ("image", "document", "search_result", "tool_use", "tool_result")
"""Blocks that may be taken one day."""
FORGOTTEN = ("thinking", "redacted_thinking")
"""Blocks of earlier answers that the model does not need again."""

BLOCK = {"type": "object", "properties": {"type": {"type": "string"}, "text": {"type": "string"}}}


class Texts(fields.Field[list[str]]):
    """A text, or text blocks; thinking blocks are dropped, all others refused by name."""

    def __init__(self, description: str, **kwargs: Any) -> None:
        kinds = [{"type": "string"}, {"type": "array", "items": BLOCK}]
        nothing = [{"type": "null"}] if kwargs.get("allow_none") else []
        super().__init__(metadata={"description": description, "anyOf": kinds + nothing}, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list):
            raise ValidationError("Must be a string or a list of content blocks.")
        return [text for texts in each(value, _texts_of) for text in texts]


class Content(Texts):
    """The content of a message, which must not be empty."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        if value == [] or (isinstance(value, str) and not value.strip()):
            raise ValidationError("Must not be empty.")
        return super()._deserialize(value)


def _texts_of(block: Any) -> list[str]:
    """The text of a block, if it counts.  Raises ValidationError."""
    match block:
        case {"type": "text", "text": str(text)}:
            if not text.strip():
                raise ValidationError({"text": ["Must not be empty."]})
            return [text]
        case {"type": "text"}:
            raise ValidationError({"text": ["Must be a string."]})
        case {"type": str(kind)} if kind in FORGOTTEN:
            return []
        case {"type": str(kind)}:
            when = " yet" if kind in NOT_YET else ""
            raise ValidationError({"type": [f"{kind[:40]!r} blocks are not supported{when}: only text is."]})
        case _:
            raise ValidationError("Must be an object with a type.")
