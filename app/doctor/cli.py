"""The grammar of ``clinvk doctor``; what it does is in examine.py."""

import argparse

DESCRIPTION = (
    "Look whether the server can work: which CLIs are there, in which version, and logged in or not; configuration, "
    "folders, and whether a server runs. Says of each thing that is wrong what mends it. No model is asked. Run it as "
    "the user, and with the environment, that the server has."
)
EXIT_CODES = (
    "Exit code 0: the server can work, with at least one backend. 1: something must be mended. 2: the configuration is "
    "at fault."
)


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: argparse.ArgumentParser
) -> None:
    """Add ``doctor`` to a command line; ``config`` has the flags that it takes."""
    doctor = commands.add_parser(
        "doctor",
        parents=[config],
        help="look whether the server can work, and what to do if not",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
    )
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from app.doctor.examine import examine  # noqa: PLC0415 - it brings what a server needs, and an HTTP client
    from app.doctor.text import show  # noqa: PLC0415

    report = examine(arguments.config)
    show(report, as_json=arguments.json)
    return report.exit_code
