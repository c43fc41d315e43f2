"""What each of Anthropic's models lets be chosen.

claude knows it too and mostly leaves out what a model would refuse, but not what is put into its requests from outside
(read from claude 2.1.197; the provider answers 400, as to ``temperature`` since Opus 4.7).
"""

import re
from dataclasses import dataclass

NUMBERED = re.compile(r"claude-(?:([a-z]+)-)?(\d+)(?:[-.](\d{1,2})(?!\d))?")
"""As in ``claude-sonnet-4-5-20250929``, ``us.anthropic.claude-opus-4-1``, ``claude-3-5-haiku``; a date is no number."""
ANTHROPICS = re.compile("claude|opus|sonnet|haiku|fable|mythos")
ALIASES = {"haiku": "claude-haiku-4-5"}
"""A short name whose model is older than what the others stand for."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model takes: how to sample, how much effort to make, a budget for thinking, and not to think at all."""

    samples: bool
    takes_effort: bool
    takes_budget: bool
    can_not_think: bool


LATEST = Abilities(samples=False, takes_effort=True, takes_budget=False, can_not_think=True)
"""The model of those who name none, and of names that stand for the latest of a family."""
FOREIGN = Abilities(samples=True, takes_effort=True, takes_budget=False, can_not_think=True)
"""A model of somebody else's, behind an address of the operator's."""


def abilities(model: str) -> Abilities:
    """What the model of this name takes."""
    name = model.lower()
    found = NUMBERED.search(ALIASES.get(name, name))
    if found is None:
        return LATEST if not name or ANTHROPICS.search(name) else FOREIGN
    family, major, minor = found.groups(default="0")
    version = (int(major), int(minor))
    return Abilities(
        samples=version <= (4, 6),
        takes_effort=version >= (4, 6) or (family, version) == ("opus", (4, 5)),
        takes_budget=(3, 7) <= version < (4, 6),
        can_not_think=version < (5, 0) or family == "sonnet",
    )
