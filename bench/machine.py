"""What the machine is, and how much else it has to do: by that a reader judges how far figures are noise."""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import psutil


def description() -> dict[str, object]:
    """Cores that may be used, the processor, memory, kernel, Python."""
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": found[1] if found else platform.machine(),
        "memory_mb": psutil.virtual_memory().total // 10**6,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def warning(load_before: Sequence[float]) -> str:
    """What a reader must know of a machine that had other things to do before the start; "" where it had not."""
    if load_before[0] <= 1:
        return ""
    return "BUSY: something else was at work before the start. Times are too long, rates too low; measure again."


def load_average() -> list[float]:
    """How many processes wanted a core, in the mean of the last 1, 5 and 15 minutes."""
    return [round(load, 2) for load in os.getloadavg()]
