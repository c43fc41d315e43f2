"""What clinvk reads of a CLI's lines, found in the code that reads them.

To read ``usage.input_tokens`` a backend has to name ``usage`` and ``input_tokens``: what it never names it cannot read.
So this errs on one side only; a place whose every name stands in the code for another reason counts as read, too.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.drift import shape
from tests.support.guard import ROOT

BACKENDS = ROOT / "services" / "backends"
WITHOUT_NAME = {"[]", "*"}
ENVELOPE = {"answer to", "refusal of", "other"}
AT_ANY_TIME = {("codex", ("warning",))}
"""Lines that a CLI prints beside what it is asked for, sooner or later, as it happens."""


@cache
def words(cli: str) -> frozenset[str]:
    """The texts that stand in the code of a backend."""
    sources = [*sorted((BACKENDS / cli).glob("*.py")), BACKENDS / "lenient.py"]
    return frozenset(word for source in sources for word in texts(source))


def texts(source: Path) -> Iterator[str]:
    """Every text literal of a file."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def reads_kind(cli: str, kind: shape.Kind) -> bool:
    """Whether clinvk can tell lines of this kind from others."""
    return set(kind) - ENVELOPE <= words(cli)


def has_a_place(cli: str, kind: shape.Kind) -> bool:
    """Whether lines of this kind come in an order with the others."""
    return (cli, kind) not in AT_ANY_TIME


def reads_field(cli: str, kind: shape.Kind, path: shape.Path) -> bool:
    """Whether clinvk can look at this place in lines of this kind."""
    return reads_kind(cli, kind) and set(path) - WITHOUT_NAME <= words(cli)
