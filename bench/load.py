"""Requests a second: many connections that ask again and again."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.build import load_client
from bench.client import request_bytes
from bench.spread import median, spread_ms
from bench.table import Figure

GOOD = '"exit_code":0'
"""Stands in the native API's answer to a prompt that succeeded."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it.  ``client_cpu_s`` is what the client took of the same cores that the server ran on."""

    wall_s: float
    client_cpu_s: float
    took_s: Sequence[float]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.took_s) / self.wall_s


def load(port: int, path: str, body: Mapping[str, Any], connections: int, seconds: float) -> Load:
    """Ask on so many connections for so long.  RuntimeError when one answer was not good."""
    done = subprocess.run(
        [str(load_client()), str(port), str(connections), str(seconds), GOOD],
        input=request_bytes(path, body),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return parsed(done.stdout.decode(), done.stderr.decode(errors="replace"))


def parsed(printed: str, errors: str = "") -> Load:
    """What the client printed.  RuntimeError when it tells of an answer that was not good."""
    wall_us, cpu_us, bad, *took_us = map(int, printed.split())
    if bad:
        raise RuntimeError(f"{bad} answers were not good, the first: {errors}")
    return Load(wall_us / 1e6, cpu_us / 1e6, [us / 1e6 for us in took_us])


def load_row(row: str, loads: Sequence[Load], at_least: float | None = None) -> list[Figure]:
    """The row of repeated loads: the median rate, p50 and p99 of all answers, what the client took of one core."""
    share = sum(one.client_cpu_s for one in loads) / sum(one.wall_s for one in loads)
    return [
        Figure("requests", median([one.rate for one in loads]), "1/s", at_least=at_least, row=row),
        *spread_ms(row, [took for one in loads for took in one.took_s]),
        Figure("client", share * 100, "% of a core", row=row),
    ]
