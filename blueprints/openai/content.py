"""The content of messages: a text, or parts of which this server takes those of text."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields

from blueprints.fields import each
from services.chat import PARAGRAPH

NOT_YET = ("image_url", "input_audio", "file")
"""Parts that may be taken one day."""

PART = {"type": "object", "properties": {"type": {"type": "string"}, "text": {"type": "string"}}}


class Content(fields.Field[list[str]]):
    """A text, text parts or nothing, as a list of texts; any other part is refused by name."""

    def __init__(self, description: str, **kwargs: Any) -> None:
        kinds = [{"type": "string"}, {"type": "array", "items": PART}, {"type": "null"}]
        super().__init__(metadata={"description": description, "anyOf": kinds}, allow_none=True, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        if isinstance(value, str):
            return [value] if value else []
        if not isinstance(value, list):
            raise ValidationError("Must be a string or a list of content parts.")
        return [text for texts in each(value, _texts_of) for text in texts]


def _texts_of(part: Any) -> list[str]:
    """The text of a part.  Raises ValidationError."""
    match part:
        case {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
            return [text] if text else []
        case {"type": ("text" | "refusal") as kind}:
            raise ValidationError({kind: ["Must be a string."]})
        case {"type": str(kind)}:
            when = " yet" if kind in NOT_YET else ""
            raise ValidationError({"type": [f"{kind[:40]!r} parts are not supported{when}: only text is."]})
        case _:
            raise ValidationError("Must be an object with a type.")


def said(message: Mapping[str, Any]) -> str:
    """The text of a message that was loaded; "" when there is none."""
    return PARAGRAPH.join(message["content"] or ())
