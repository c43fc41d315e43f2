"""Fuzz a server: ``python -m tests.fuzz --minutes 10``.  The exit code is 1 when there is any finding."""

import argparse
import random
import tempfile
from pathlib import Path

from tests.fuzz.fuzzing import fuzz
from tests.support.server import ServerFactory


def main() -> None:
    """Do it; schemathesis prints what it finds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ServerFactory(lambda name: _made(Path(folder) / name)) as servers:
        found = fuzz(servers, round(arguments.minutes * 60), arguments.seed)
    print(found.text)
    raise SystemExit(0 if found.nothing else 1)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
