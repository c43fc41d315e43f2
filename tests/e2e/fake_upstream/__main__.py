"""The fake model server by hand."""

import argparse
import threading
from contextlib import suppress
from pathlib import Path

from tests.e2e.fake_upstream.server import ModelServer


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake model server on loopback.")
    parser.add_argument("--port", type=int, default=8901)
    parser.add_argument("--log", type=Path, help="append one JSON line per request to this file")
    parser.add_argument("--bodies", action="store_true", help="log whole bodies too")
    parser.add_argument("--always", default="", help="words that count for every prompt, such as FAKE:401")
    given = parser.parse_args()
    with ModelServer(given.port, log=given.log, bodies=given.bodies, always=given.always) as server:
        print(f"fake model server on {server.url}", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
