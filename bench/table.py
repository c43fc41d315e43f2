"""Figures, the one table they make, and where it is kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
GAP = "  "


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value, with the target it has to meet if there is one.

    Where ``row`` is given, the figure stands in that row of a grid, in the column that is called ``name``.
    """

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    row: str = ""

    @property
    def target(self) -> str:
        """The target in words."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return "" if self.at_least is None else f"≥ {self.at_least:,g}"

    @property
    def met(self) -> bool:
        """Whether the target is met; True where there is none."""
        below = self.at_most is None or self.value <= self.at_most
        return below and (self.at_least is None or self.value >= self.at_least)

    @property
    def verdict(self) -> str:
        """``met``, ``MISSED``, or nothing where there is no target."""
        return "" if not self.target else ("met" if self.met else "MISSED")

    @property
    def shown(self) -> str:
        """The value with three digits, more where there are more before the point, none behind it for a count."""
        if self.value >= 100 or isinstance(self.value, int):
            return f"{self.value:,.0f}"
        return f"{self.value:.1f}" if self.value >= 10 else f"{self.value:.2f}"


@dataclass(frozen=True, slots=True)
class Section:
    """Figures that belong together.  ``notes`` say what a reader has to know of them."""

    title: str
    figures: Sequence[Figure]
    notes: Sequence[str] = ()


def show(section: Section) -> str:
    """A section to read: its title, its grid of rows and columns, its single figures, its notes."""
    grid = [figure for figure in section.figures if figure.row]
    single = [figure for figure in section.figures if not figure.row]
    parts = [section.title, "-" * len(section.title)]
    parts += as_grid(grid) if grid else []
    parts += as_list(single) if single else []
    return "\n".join([*parts, *(f"* {note}" for note in section.notes)])


def as_list(figures: Sequence[Figure]) -> list[str]:
    """A line for each figure."""
    return aligned([[f.name, f.shown, f.unit, f.target, f.verdict] for f in figures], right={1})


def as_grid(figures: Sequence[Figure]) -> list[str]:
    """A line for each row; the unit stands with the column's name, a target and its verdict with the value."""
    columns = list(dict.fromkeys(f"{f.name} {f.unit}".strip() for f in figures))
    rows: dict[str, dict[str, str]] = {}
    for f in figures:
        cell = " ".join(filter(None, (f.shown, f.target and f"({f.target}", f.verdict and f"{f.verdict})")))
        rows.setdefault(f.row, {})[f"{f.name} {f.unit}".strip()] = cell
    lines = [[name, *(cells.get(column, "") for column in columns)] for name, cells in rows.items()]
    return aligned([["", *columns], *lines])


def aligned(lines: Sequence[Sequence[str]], right: set[int] = frozenset()) -> list[str]:  # type: ignore[assignment]
    """Cells in columns as wide as their widest one; those of ``right`` end at its right."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return [
        GAP.join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def summary(sections: Sequence[Section]) -> str:
    """How many targets were met, and each that was not."""
    targets = [(section.title, figure) for section in sections for figure in section.figures if figure.target]
    missed = [
        f"MISSED  {title}: {' '.join(filter(None, (f.row and f'{f.row},', f.name, f.shown, f.unit)))} ({f.target})"
        for title, f in targets
        if not f.met
    ]
    return "\n".join([f"{len(targets) - len(missed)} of {len(targets)} targets met", *missed])


def keep(text: str, sections: Sequence[Section], about: Mapping[str, object], folder: Path = RESULTS) -> Path:
    """Write the table as it was printed, and the same as JSON, to files of their own; the path of the JSON."""
    folder.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    path = folder / f"{now:%Y-%m-%dT%H%M%S}Z.json"
    content = {
        "at": now.isoformat(timespec="seconds"),
        **about,
        "sections": [{"title": s.title, "figures": [compact(figure) for figure in s.figures]} for s in sections],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    path.with_suffix(".txt").write_text(text + "\n")
    return path


def compact(figure: Figure) -> dict[str, object]:
    """A figure for JSON: four digits, and nothing that is not there."""
    known = {name: value for name, value in asdict(figure).items() if value not in (None, "")}
    return known | {"value": float(f"{figure.value:.4g}")}
