"""What is told of repeated measurements."""

from collections.abc import Sequence

from bench.table import Figure


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many percent lie, between two neighbours in proportion.  ValueError where none are."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return percentile(values, 50)


def spread_ms(row: str, seconds: Sequence[float]) -> list[Figure]:
    """The columns p50 and p99 of a row, in milliseconds."""
    return [Figure(f"p{percent}", percentile(seconds, percent) * 1e3, "ms", row=row) for percent in (50, 99)]


def repeats(usual: int, effort: float, at_least: int = 1) -> int:
    """How often to measure: as usual, or less where only a look is wanted (``effort`` below 1)."""
    return max(at_least, round(usual * effort))
