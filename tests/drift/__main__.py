"""May one upgrade?  ``python -m tests.drift [--cli claude …] [--versions claude=2.1.330 …] [--write]``.

The exit code is 0 when nothing that clinvk reads has changed, 1 when something has, 2 when npm did not give a CLI.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console

from services.backends import BUILT_IN
from tests.drift import npm, recording, trial
from tests.drift.comparison import compare
from tests.drift.table import Report, show
from tests.support.guard import ROOT

BUILD = Path(__file__).parent / ".build"
AT_ONCE = 2
"""CLIs that are tried at the same time."""
WIDTH = 140
"""Of what is printed elsewhere than on a terminal, in columns."""


def drift(program: trial.Program, console: Console, *, write: bool) -> Report:
    """Try a program and compare it with the version that clinvk is tested with."""
    pinned = BUILT_IN[program.cli].tested_version
    with tempfile.TemporaryDirectory(prefix="clinvk-drift-") as folder:
        new = trial.run(program, Path(folder) / "trial", partial(say, console, program))
    kept = recording.folder_of(program.cli, program.version) if write else seen_folder(program)
    old = recording.read(recording.folder_of(program.cli, pinned))
    recording.write(kept, new)
    say(console, program, f"recorded in {kept.relative_to(ROOT)}")
    return Report(program.cli, pinned, program.version, compare(program.cli, old, new))


def say(console: Console, program: trial.Program, what: str) -> None:
    """A line of progress."""
    console.print(f"{program.cli} {program.version}: {what}", highlight=False, soft_wrap=True)


def seen_folder(program: trial.Program) -> Path:
    """Where recordings lie that nobody asked to keep."""
    return BUILD / "recordings" / program.cli / program.version


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.drift", description="May one upgrade the CLIs?")
    parser.add_argument("--cli", nargs="+", choices=npm.PACKAGES, default=list(npm.PACKAGES), metavar="NAME")
    parser.add_argument("--versions", nargs="+", default=[], metavar="NAME=VERSION", help="instead of the newest")
    parser.add_argument("--write", action="store_true", help="keep the recordings in tests/recordings")
    parser.add_argument("--clean", action="store_true", help="install again what is installed already")
    given = parser.parse_args(words)
    given.versions = dict(named.partition("=")[::2] for named in given.versions)
    if unknown := [name for name, version in given.versions.items() if name not in npm.PACKAGES or not version]:
        parser.error(f"--versions takes {', '.join(npm.PACKAGES)} and a version, not {unknown}")
    return given


def main() -> None:
    given = arguments()
    if given.clean:
        shutil.rmtree(BUILD, ignore_errors=True)
    console = Console(stderr=True)
    try:
        programs = [
            npm.installed(cli, given.versions.get(cli) or npm.newest(cli), BUILD / "installed") for cli in given.cli
        ]
    except (subprocess.SubprocessError, OSError) as error:
        console.print(f"cannot be installed: {error}", highlight=False)
        raise SystemExit(2) from None
    with ThreadPoolExecutor(AT_ONCE) as pool:
        reports = list(pool.map(lambda program: drift(program, console, write=given.write), programs))
    output = Console(width=None if sys.stdout.isatty() else WIDTH)
    for report in reports:
        show(report, output)
    raise SystemExit(0 if all(report.is_harmless for report in reports) else 1)


if __name__ == "__main__":
    main()
