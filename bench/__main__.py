"""Measure everything, print the table, keep it.  Misses do not fail: a benchmark is no test."""

from bench import native
from bench.table import keep, show


def main() -> None:
    """Run all benchmarks."""
    figures = native.measure()
    print(show("native API, fake CLI", figures))
    print(f"\nkept in {keep(figures).name}")


if __name__ == "__main__":
    main()
