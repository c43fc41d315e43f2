"""Measure everything, print the table, keep it.  Misses do not fail: a benchmark is no test."""

from bench import native, remembered, sdks, sessions
from bench.table import keep, show


def main() -> None:
    """Run all benchmarks."""
    api = native.measure()
    print(show("native API, fake CLI", api))
    chats = sdks.measure()
    print("\n" + show("the SDKs' routes, fake CLI", chats))
    store = sessions.measure()
    print("\n" + show("session store alone", store))
    kept = remembered.measure()
    print("\n" + show("sessions over HTTP", kept))
    print(f"\nkept in {keep([*api, *chats, *store, *kept]).name}")


if __name__ == "__main__":
    main()
