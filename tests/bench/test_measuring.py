"""The parts of `make bench` that compute: percentiles, and what is read from /proc, a stream or the load client."""

from collections.abc import Sequence

import pytest

from bench.__main__ import PARTS, arguments, measured, table
from bench.client import wait_for_mark
from bench.load import Load, load_row, parsed
from bench.machine import warning
from bench.routes import ANTHROPIC, NATIVE, OPENAI, ROUTES, Question
from bench.spread import median, percentile, repeats
from bench.table import Section
from bench.watching import Moment, Stat, parse_stat, tree_of


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([7.0], 99, 7.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.5),
        ([float(number) for number in range(101)], 99, 99.0),
        ([0.0, 10.0], 99, 9.9),
        ([5.0, 1.0], 0, 1.0),
        ([5.0, 1.0], 100, 5.0),
    ],
)
def test_a_percentile_lies_between_its_neighbours(values: Sequence[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == pytest.approx(expected)


def test_there_is_no_median_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        median([])


@pytest.mark.parametrize(("usual", "effort", "expected"), [(5, 1.0, 5), (5, 0.5, 2), (5, 0.01, 1), (200, 0.1, 20)])
def test_less_effort_is_fewer_repeats_but_never_none(usual: int, effort: float, expected: int) -> None:
    assert repeats(usual, effort) == expected


def test_what_the_load_client_prints_is_read() -> None:
    load = parsed("2000000\n50000\n0\n1000\n3000\n")
    assert load == Load(wall_s=2.0, client_cpu_s=0.05, took_s=[0.001, 0.003])
    assert load.rate == 1.0


def test_one_answer_that_is_not_good_spoils_a_load() -> None:
    with pytest.raises(RuntimeError, match=r"^1 answers were not good, the first: overloaded$"):
        parsed("2000000\n50000\n1\n1000\n", "overloaded")


def test_the_row_of_loads_has_the_median_rate_and_the_share_of_the_client() -> None:
    loads = [Load(1.0, 0.01, [0.002] * rate) for rate in (100, 400, 200)]
    values = {figure.name: figure.value for figure in load_row("16 connections", loads, at_least=1000)}
    assert values == pytest.approx({"requests": 200.0, "p50": 2.0, "p99": 2.0, "client": 1.0})


def test_a_line_of_proc_is_read_whatever_the_name() -> None:
    line = "42 (a) b (c) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 300 100 20 0 1 0 100 1000 10"
    stat = parse_stat(line)
    assert (stat.pid, stat.parent, stat.name, stat.state) == (42, 7, "a) b (c", "S")
    assert stat.reaped_s == pytest.approx(2 * stat.cpu_s)


def stat(pid: int, parent: int, state: str = "S", cpu_s: float = 0.0) -> Stat:
    return Stat(pid, parent, "cli", state, cpu_s, 0.0)


def test_a_tree_is_all_descendants() -> None:
    children = {1: [stat(2, 1), stat(3, 1)], 3: [stat(4, 3)], 9: [stat(10, 9)]}
    assert [found.pid for found in tree_of(1, children)] == [2, 3, 4]


@pytest.mark.parametrize(
    ("after", "quiet"),
    [
        (Moment({2: (stat(2, 1),)}, 1.0, 0.5), True),
        (Moment({2: (stat(2, 1),)}, 1.0, 0.6), False),
        (Moment({2: (stat(2, 1),)}, 1.1, 0.5), False),
        (Moment({2: (stat(2, 1, "R"),)}, 1.0, 0.5), False),
        (Moment({3: (stat(3, 1),)}, 1.0, 0.5), False),
    ],
    ids=["nothing", "a CLI computed", "the server computed", "a CLI computes", "another CLI"],
)
def test_quiet_is_when_nothing_has_happened(after: Moment, quiet: bool) -> None:
    assert after.is_quiet_since(Moment({2: (stat(2, 1),)}, 1.0, 0.5)) is quiet


def test_a_mark_is_found_where_pieces_cut_it() -> None:
    pieces = iter([b'{"type":"te', b'xt_delta"}', b"more"])
    wait_for_mark(pieces, b'"text_delta"')
    assert [*pieces] == [b"more"]


def test_a_mark_that_never_comes_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="what came instead"):
        wait_for_mark(iter([b"what came instead"]), b'"text_delta"')


def test_a_question_is_asked_in_each_dialect() -> None:
    question = Question("hi", "gemini", "flash", stream=True)
    assert NATIVE.body(question) == {
        "backend": "gemini",
        "prompt": "hi",
        "model": "flash",
        "ephemeral": True,
        "output_format": "stream-json",
    }
    assert OPENAI.body(question) == ANTHROPIC.body(question)
    assert OPENAI.body(question)["model"] == "gemini/flash"
    assert [route.body(Question("hi"))["model"] for route in ROUTES if route is not NATIVE] == ["claude", "claude"]
    assert "model" not in NATIVE.body(Question("hi"))


def test_parts_are_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert arguments(["plain", "--effort", "0.1"]).parts == ["plain"]
    assert arguments([]).parts == []
    with pytest.raises(SystemExit):
        arguments(["nothing"])
    assert "no such part: nothing" in capsys.readouterr().err
    assert {"real", "plain"} < PARTS.keys()


@pytest.mark.parametrize(("load", "busy"), [([1.0, 4.0, 4.0], False), ([1.2, 0.1, 0.1], True)])
def test_a_busy_machine_is_told_of_in_the_table(load: Sequence[float], busy: bool) -> None:
    assert ("BUSY" in table([], {"cores": 2}, warning(load))) is busy


def test_a_part_that_fails_does_not_take_the_others_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(effort: float) -> Section:
        raise RuntimeError(f"no figures with {effort}")

    failed: list[str] = []
    (section,) = measured("plain", fails, 0.5, failed)
    assert (section.figures, section.notes) == ([], ("could not be measured: no figures with 0.5",))
    assert failed == ["plain"]
    assert "RuntimeError" in capsys.readouterr().err
