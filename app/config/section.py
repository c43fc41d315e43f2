"""What all sections of the configuration file have in common."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, ValidationError, post_load, validates_schema

NO_MAPPING = "must be a mapping (`key: value`, one a line)"


def unknown(key: object, known: Collection[str]) -> str:
    """What to say of a key that there is not, with the one that was probably meant."""
    likely = get_close_matches(str(key), known, n=1)
    return f"unknown key; did you mean {likely[0]}?" if likely else f"unknown key; known are {', '.join(known)}"


class Section(Schema):
    """A mapping of known keys that loads into ``shape``; what is absent has the dataclass's default."""

    shape: ClassVar[type]
    error_messages = {"type": NO_MAPPING}  # noqa: RUF012 - as marshmallow declares it

    class Meta:
        """Unknown keys are told by :meth:`refuse_unknown`, which knows the likely ones."""

        unknown = EXCLUDE

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def refuse_unknown(self, _data: Any, original: Any, **_: Any) -> None:
        """Name every key that there is not."""
        if not isinstance(original, Mapping):
            return  # already told
        if errors := {key: [unknown(key, self.fields)] for key in original if key not in self.fields}:
            raise ValidationError(errors)

    @post_load
    def build(self, data: Mapping[str, Any], **_: Any) -> Any:
        """The dataclass."""
        return self.shape(**data)
