"""Figures, how they are shown and where they are kept."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value, with the target it has to meet if there is one."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        """The target in words."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return "" if self.at_least is None else f"≥ {self.at_least:g}"

    @property
    def met(self) -> bool:
        """Whether the target is met; True where there is none."""
        below = self.at_most is None or self.value <= self.at_most
        return below and (self.at_least is None or self.value >= self.at_least)


def show(title: str, figures: Sequence[Figure]) -> str:
    """A table to read."""
    width = max(len(figure.name) for figure in figures)
    lines = [title, "-" * (width + 40)]
    for figure in figures:
        value = f"{figure.value:,.0f}" if figure.value >= 1000 else f"{figure.value:.2f}"
        verdict = "" if not figure.target else ("met" if figure.met else "MISSED")
        lines.append(f"{figure.name:<{width}}  {value:>10} {figure.unit:<4} {figure.target:>9}  {verdict}".rstrip())
    return "\n".join(lines)


def keep(figures: Sequence[Figure]) -> Path:
    """Write the figures to a file of their own."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    path = RESULTS / f"{now:%Y-%m-%dT%H%M%S}Z.json"
    machine = {"python": platform.python_version(), "kernel": platform.release(), "machine": platform.machine()}
    content = {"at": now.isoformat(timespec="seconds"), **machine, "figures": [asdict(figure) for figure in figures]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path
