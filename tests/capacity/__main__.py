"""Print what becomes of a server that is asked for more than it can carry: ``python -m tests.capacity``.

Everything is on loopback, with the fake CLIs; it takes less than a minute.  The exit code is 1 when anything is wrong.
"""

import argparse
import logging
import resource
import tempfile
from pathlib import Path

from tests.capacity.cases import findings
from tests.capacity.findings import table
from tests.support.server import ServerFactory


def main() -> None:
    """Try all of them, one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="words of a case's name")
    only = parser.parse_args().only
    logging.disable(logging.WARNING)  # one pool is this process's own
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))
    wrong = 0
    with tempfile.TemporaryDirectory() as folder, ServerFactory(lambda _: Path(tempfile.mkdtemp(dir=folder))) as start:
        for finding in findings(start, only):
            print(table([finding]), flush=True)
            wrong += not finding.good
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
