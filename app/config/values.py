"""The kinds of values a configuration has: each says in half a sentence what it must be.

Parsing is as lenient as clinvoker's where nothing can be misread (``"8080"`` is a number), and never guesses.
"""

import ipaddress
import math
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from marshmallow import ValidationError, fields

LONGEST_SECS = 7 * 24 * 3600
"""The longest time span: what every system call that waits can still take."""

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Value(fields.Field[Any]):
    """A value that ``parse`` takes, or refuses by a ValueError; ``must`` goes on "must be …"."""

    def __init__(self, must: str, parse: Callable[[Any], Any]) -> None:
        super().__init__()
        self.must = must
        self.parse = parse

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        try:
            return self.parse(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValidationError(f"must be {self.must}") from error


class Several(fields.List[Any]):
    """A list of values, as a tuple; an empty one means ``when_empty``."""

    default_error_messages = {"invalid": "must be a list"}  # noqa: RUF012 - as marshmallow declares it

    def __init__(self, item: fields.Field[Any], when_empty: tuple[Any, ...] = ()) -> None:
        super().__init__(item)
        self.when_empty = when_empty

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        return tuple(super()._deserialize(value, attr, data, **kwargs)) or self.when_empty


class Table(fields.Field[Any]):
    """A mapping of names to values of one kind; what is wrong with one of them is told under its name."""

    def __init__(self, item: fields.Field[Any]) -> None:
        super().__init__()
        self.item = item

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("must be a mapping")
        loaded, errors = {}, {}
        for name, item in value.items():
            try:
                loaded[_text(name)] = self.item.deserialize(item)
            except ValidationError as error:
                errors[name] = error.messages
            except ValueError:
                errors[name] = ["the name must be text"]
        if errors:
            raise ValidationError(errors)
        return loaded


def flag() -> Value:
    """Yes or no."""

    def parse(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _TRUTH:
            return _TRUTH[value.lower()]
        raise ValueError

    return Value("true or false", parse)


def whole(low: int = 0, high: int | None = None, *, zero: int | None = None) -> Value:
    """A whole number; 0 stands for ``zero`` where that is given."""
    must = f"a whole number, {low} or more" if high is None else f"a whole number from {low} to {high}"

    def parse(value: Any) -> int:
        number = _number(value)
        if number != int(number) or number < low or (high is not None and number > high):
            raise ValueError
        return zero if number == 0 and zero is not None else int(number)

    return Value(must, parse)


def seconds(*, zero: float | None = None, required: bool = False) -> Value:
    """A time span; 0 is allowed unless ``required``, and stands for ``zero`` where that is given."""
    must = f"a number of seconds, {'above 0' if required else '0 or more'}, at most {LONGEST_SECS}"

    def parse(value: Any) -> float:
        number = float(_number(value))
        if not 0 <= number <= LONGEST_SECS or (required and number == 0):
            raise ValueError
        return zero if number == 0 and zero is not None else number

    return Value(must, parse)


def rate() -> Value:
    """A number of things a second."""

    def parse(value: Any) -> float:
        number = float(_number(value))
        if not 0 <= number <= 1_000_000:
            raise ValueError
        return number

    return Value("a number from 0 to 1000000", parse)


def text() -> Value:
    """Any text that a program can be given."""
    return Value("text (in quotes, if it looks like a number), without NUL", _text)


def choice(options: Iterable[str], *, blank: str | None = "") -> Value:
    """One of some words; an empty text stands for ``blank`` (it is refused when ``blank`` is "")."""
    allowed = tuple(options)

    def parse(value: Any) -> str | None:
        if value == "" and blank != "":
            return blank
        if value not in allowed:
            raise ValueError
        return str(value)

    return Value("one of " + ", ".join(allowed), parse)


def absolute_path(*, blank: bool = False) -> Value:
    """An absolute path, "" as well where ``blank``."""

    def parse(value: Any) -> str:
        path = _text(value)
        if not path.startswith("/") and not (blank and not path):
            raise ValueError
        return path.rstrip("/") or path[:1]

    return Value("an absolute path", parse)


def host() -> Value:
    """What the server listens on: a name, an address, or ``unix:/path``."""

    def parse(value: Any) -> str:
        name = _text(value)
        if name.startswith("unix:/") or _HOST_NAME.fullmatch(name) or _is_address(name):
            return name
        raise ValueError

    return Value("a host name, an IP address or unix:/path/of/a/socket", parse)


def host_name() -> Value:
    """A name that requests may give in ``Host``."""

    def parse(value: Any) -> str:
        name = _text(value).lower()
        if not (_HOST_NAME.fullmatch(name) or _is_address(name)):
            raise ValueError
        return name

    return Value("a host name or an IP address, without a port", parse)


def network() -> Value:
    """An IP address, or a network as in ``10.0.0.0/8``."""

    def parse(value: Any) -> str:
        name = _text(value)
        return str(ipaddress.ip_network(name, strict=False) if "/" in name else ipaddress.ip_address(name))

    return Value("an IP address or a network such as 10.0.0.0/8", parse)


def origin() -> Value:
    """A web origin; ``*`` may stand for everything or for the port."""
    pattern = re.compile(r"\*|[a-z][a-z0-9+.-]*://([^/*?#@\s]+|\[[0-9a-f:]+\](:\d+)?|[^/*?#@\s]+:\*)", re.IGNORECASE)

    def parse(value: Any) -> str:
        name = _text(value).rstrip("/")
        if not pattern.fullmatch(name):
            raise ValueError
        return name

    return Value("an origin such as https://app.example.com or http://localhost:*, or *", parse)


def url(schemes: Iterable[str], *, blank: bool = False) -> Value:
    """A URL with one of some schemes, "" as well where ``blank``."""
    allowed = tuple(f"{scheme}://" for scheme in schemes)

    def parse(value: Any) -> str:
        address = _text(value)
        if not address.startswith(allowed) and not (blank and not address):
            raise ValueError
        return address

    return Value("a URL that begins with " + ", ".join(allowed), parse)


def variable() -> Value:
    """The name of an environment variable, or ``PREFIX_*``."""
    pattern = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?")

    def parse(value: Any) -> str:
        name = _text(value)
        if not pattern.fullmatch(name) or name.upper().startswith("CLINVK"):
            raise ValueError
        return name

    return Value(
        "the name of an environment variable, or PREFIX_*; the server's own (CLINVK_…) are not passed on", parse
    )


def table() -> Value:
    """A mapping of text to text; numbers and booleans count as the text YAML has for them."""
    return Value("a mapping of names to text", partial(_mapping, _plain))


def table_of_lists() -> Value:
    """A mapping of text to lists of text; a single text is a list of one."""

    def parse(value: Any) -> tuple[str, ...]:
        return tuple(_text(item) for item in (value if isinstance(value, list) else [value]))

    return Value("a mapping of names to lists of text", partial(_mapping, parse))


def table_of_tables() -> Value:
    """A mapping of text to mappings of text to text."""
    return Value("a mapping of names to mappings of names to text", partial(_mapping, partial(_mapping, _plain)))


def tools() -> Value:
    """``all``, or the names of tools: a list, or as one text separated by commas."""

    def parse(value: Any) -> tuple[str, ...] | None:
        if value in ("all", ""):
            return None
        if isinstance(value, list):
            return tuple(_text(item) for item in value)
        outside_parentheses = r",(?![^(]*\))"
        return tuple(name.strip() for name in re.split(outside_parentheses, _text(value)) if name.strip())

    return Value('"all", or tools as a list or separated by commas', parse)


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    return value


def _mapping(parse: Callable[[Any], Any], value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return {_plain(key): parse(item) for key, item in value.items()}


def _plain(value: Any) -> str:
    """A scalar as text, as YAML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else _text(value)


def _number(value: Any) -> int | float:
    if isinstance(value, str):
        value = int(value) if re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value) else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
