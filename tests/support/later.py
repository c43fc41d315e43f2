"""Modules that take long to import, for the tests that need them: whoever only collects the tests must not wait."""

from importlib import import_module
from typing import Any


class Later:
    """Stands for a module, and imports it once something of it is asked for.

    To the type checker it is the module: ``if TYPE_CHECKING: import a`` ``else: a = Later("a")``.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest looks for such in whatever stands in a test module
            raise AttributeError(attribute)
        return getattr(import_module(self._name), attribute)
