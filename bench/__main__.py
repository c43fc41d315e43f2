"""Measure everything, print the table, keep it.  A missed target does not fail: a benchmark is no test.

``python -m bench [PART …] [--effort 0.2] [--keep]``: a part alone, or with fewer repetitions, is printed and not kept.
A part that could not be measured is named in the table, and the exit code is 1.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence

from bench import idle, plain, real, remembered, sessions, streams, throughput
from bench.machine import description, load_average, warning
from bench.table import Section, keep, show, summary

Part = Callable[[float], Section | list[Section]]
PARTS: Mapping[str, Part] = {
    "real": real.measure,
    "plain": plain.measure,
    "throughput": throughput.measure,
    "idle": idle.measure,
    "streams": streams.measure,
    "remembered": remembered.measure,
    "sessions": sessions.measure,
}


def main() -> None:
    """Measure what is asked for."""
    given = arguments()
    before, began_s = load_average(), time.monotonic()
    failed: list[str] = []
    sections = [
        section for name in given.parts or PARTS for section in measured(name, PARTS[name], given.effort, failed)
    ]
    about = {
        **description(),
        "load_before": before,
        "load_after": load_average(),
        "minutes": round((time.monotonic() - began_s) / 60, 1),
    }
    text = table(sections, about, warning(before))
    print(text)
    if given.keep or (not given.parts and given.effort == 1):
        print(f"\nkept in bench/results/{keep(text, sections, about).stem}.json and .txt")
    sys.exit(1 if failed else 0)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure, print the table, keep it.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all where none is given")
    parser.add_argument("--effort", type=float, default=1.0, metavar="SHARE", help="of the usual repetitions")
    parser.add_argument("--keep", action="store_true", help="keep it, though it is not the whole")
    given = parser.parse_args(words)
    if unknown := set(given.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return given


def measured(name: str, part: Part, effort: float, failed: list[str]) -> list[Section]:
    """The sections of a part; says on stderr how it goes on.  The name of one that fails is put into ``failed``."""
    print(f"{name} …", end="", file=sys.stderr, flush=True)
    began_s = time.monotonic()
    try:
        result = part(effort)
    except Exception as error:  # the other parts take minutes, and are as good without this one
        traceback.print_exc()
        failed.append(name)
        result = Section(name, [], (f"could not be measured: {error}",))
    print(f" {time.monotonic() - began_s:.0f} s", file=sys.stderr)
    return result if isinstance(result, list) else [result]


def table(sections: Sequence[Section], about: Mapping[str, object], busy: str = "") -> str:
    """The whole: what the machine is, the sections, and which targets were missed."""
    machine = "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in about.items())
    return "\n\n".join(filter(None, [machine, busy, *map(show, sections), summary(sections)]))


if __name__ == "__main__":
    main()
