"""What the requests of the chat APIs have in common."""

import marshmallow as ma
from marshmallow import fields

from blueprints.fields import Flag, Many, about, required_text

MOST_MESSAGES = 100_000
MOST_TOOLS = 10_000
MOST_STOP_CHARS = 4096

NO_TOOLS = "Tools of the client's are not supported yet."


class Lenient(ma.Schema):
    """Ignores fields it does not know."""

    class Meta:  # noqa: D106 - marshmallow's
        unknown = ma.EXCLUDE


def model_name() -> fields.String:
    """Who is to answer."""
    return required_text("A backend, `backend/model`, or a model's name; what is unknown goes to the default backend.")


def conversation(message: type[ma.Schema]) -> Many:
    """The messages, each of which is such a one."""
    description = "The conversation; its last message, the user's, is answered."
    return Many(fields.Nested(message), least=1, most=MOST_MESSAGES, required=True, metadata=about(description))


def streams() -> Flag:
    """Whether the answer comes in pieces."""
    return Flag(load_default=False, allow_none=True, metadata=about("Answer with server-sent events."))


def offered_tools() -> Many:
    """The client's own tools; None when nothing is said of them."""
    return Many(fields.Raw(), most=MOST_TOOLS, load_default=None, allow_none=True, metadata=about(NO_TOOLS))
