"""The table of `make bench`: how figures are shown, judged, summed up and kept."""

import json
from pathlib import Path

import pytest

from bench.table import Figure, Section, keep, show, summary

GRID = Section(
    "claude, at once",
    [
        Figure("first text", 1070.4, "ms", row="bare"),
        Figure("first text", 120.0, "ms", row="warm, native"),
        Figure("÷ bare", 0.112, "", at_most=0.25, row="warm, native"),
        Figure("first text", 1230.0, "ms", row="cold, native"),
        Figure("÷ bare", 1.149, "", at_most=1.1, row="cold, native"),
    ],
    ("as it is.",),
)
SINGLE = Section(
    "Streams",
    [Figure("chunks a second", 61_234.5, "1/s", at_least=50_000), Figure("runs", 7, ""), Figure("x", 12.34, "MB")],
)


def test_a_grid_has_a_line_for_each_row_and_a_column_for_each_name() -> None:
    assert show(GRID).splitlines() == [
        "claude, at once",
        "---------------",
        "              first text ms  ÷ bare",
        "bare          1,070",
        "warm, native  120            0.11 (≤ 0.25 met)",
        "cold, native  1,230          1.15 (≤ 1.1 MISSED)",
        "* as it is.",
    ]


def test_single_figures_stand_one_below_the_other() -> None:
    assert show(SINGLE).splitlines()[2:] == [
        "chunks a second  61,234  1/s  ≥ 50,000  met",
        "runs                  7",
        "x                  12.3  MB",
    ]


def test_a_section_may_have_notes_alone() -> None:
    assert show(Section("Real CLIs", [], ("not measured",))).splitlines()[2:] == ["* not measured"]


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure("a", 3.0, "ms", at_most=3.0), "met"),
        (Figure("a", 3.01, "ms", at_most=3.0), "MISSED"),
        (Figure("a", 1000.0, "1/s", at_least=1000.0), "met"),
        (Figure("a", 999.0, "1/s", at_least=1000.0), "MISSED"),
        (Figure("a", 999.0, "1/s"), ""),
    ],
)
def test_a_target_is_met_or_missed(figure: Figure, verdict: str) -> None:
    assert figure.verdict == verdict


def test_the_summary_names_what_was_missed() -> None:
    assert summary([GRID, SINGLE]).splitlines() == [
        "2 of 3 targets met",
        "MISSED  claude, at once: cold, native, ÷ bare 1.15 (≤ 1.1)",
    ]


def test_the_table_is_kept_as_it_was_printed_and_as_json(tmp_path: Path) -> None:
    path = keep("the table", [SINGLE], {"cores": 2}, tmp_path / "results")
    assert path.with_suffix(".txt").read_text() == "the table\n"
    kept = json.loads(path.read_text())
    assert kept["cores"] == 2
    assert kept["sections"] == [
        {
            "title": "Streams",
            "figures": [
                {"name": "chunks a second", "value": 61230.0, "unit": "1/s", "at_least": 50000},
                {
                    "name": "runs",
                    "value": 7,
                },
                {"name": "x", "value": 12.34, "unit": "MB"},
            ],
        }
    ]
