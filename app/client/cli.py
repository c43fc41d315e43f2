"""The grammar of ``clinvk prompt`` and ``clinvk compare``; what they do is in commands.py."""

import argparse

from services.settings import APPROVAL_MODES, SANDBOX_MODES

EXIT_CODES = (
    "Exit code 0: it was answered. 1 to 125: the CLI failed, with its own exit code where it has one, or the server "
    "refused (1). 2: the command line or the configuration is at fault. 3: no server answers. 130: interrupted, and "
    "the run has ended, too."
)
SERVER = (
    "The server is the one of the configuration, unless --url or CLINVK_URL names another; the API key is that of "
    "CLINVK_API_KEY, else, on the server's own machine, the first of the server's."
)


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: argparse.ArgumentParser
) -> None:
    """Add both commands to a command line; ``config`` has the flags that each of them takes."""
    _add_prompt(commands, [config, _common()])
    _add_compare(commands, [config, _common()])


def _common() -> argparse.ArgumentParser:
    """What both take."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "prompt",
        metavar="PROMPT",
        nargs="*",
        help="what to say; - stands for what comes on stdin, which is also read when nothing is given; several are put "
        "together with a blank line between them",
    )
    common.add_argument("--workdir", metavar="FOLDER", help="the folder to work in (default: a private empty one)")
    common.add_argument("--dry-run", action="store_true", help="run nothing; show the command line that would be run")
    common.add_argument("-q", "--quiet", action="store_true", help="nothing but the answer, and errors")
    common.add_argument("--url", help="the server: http://HOST:PORT, https://HOST or unix:/PATH")
    return common


def _add_prompt(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", parents: list[argparse.ArgumentParser]
) -> None:
    prompting = commands.add_parser(
        "prompt",
        parents=parents,
        help="ask a backend, by a running server",
        description=f"Ask a backend, and print the answer as it comes. {SERVER}",
        epilog=EXIT_CODES,
    )
    prompting.add_argument("-b", "--backend", metavar="NAME", help="whom to ask (default: default_backend)")
    prompting.add_argument("-m", "--model", default="", metavar="NAME", help="the model (default: the backend's)")
    session = prompting.add_mutually_exclusive_group()
    session.add_argument("-s", "--session", default="", metavar="ID", help="the session to continue")
    session.add_argument(
        "-c", "--continue", action="store_true", dest="continues", help="continue the backend's session used last"
    )
    session.add_argument("-e", "--ephemeral", action="store_true", help="keep no session, and no folder")
    prompting.add_argument("--approval-mode", choices=APPROVAL_MODES, default="", help="what it may do unasked")
    prompting.add_argument("--sandbox-mode", choices=SANDBOX_MODES, default="", help="what it may touch")
    prompting.add_argument("--system-prompt", default="", metavar="TEXT", help="replaces the CLI's own")
    prompting.add_argument("--append-system-prompt", default="", metavar="TEXT", help="is added to the CLI's own")
    prompting.add_argument("--max-turns", type=_count, default=0, metavar="N", help="the most turns to take")
    prompting.add_argument("--max-tokens", type=_count, default=0, metavar="N", help="the most tokens to answer with")
    prompting.add_argument(
        "--extra", action="append", default=[], metavar="FLAG", help="one more flag for the CLI: --extra=--effort=high"
    )
    prompting.add_argument(
        "--metadata", action="append", type=_note, default=[], metavar="NAME=TEXT", help="a note kept with the session"
    )
    prompting.add_argument("--verbose", action="store_true", help="let the CLI tell more")
    form = prompting.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the server's whole answer, as JSON")
    form.add_argument("--events", action="store_true", help="print the events as they come, as lines of JSON")
    prompting.set_defaults(run=_run, action="prompt")


def _add_compare(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", parents: list[argparse.ArgumentParser]
) -> None:
    comparing = commands.add_parser(
        "compare",
        parents=parents,
        help="ask several backends the same, by a running server",
        description=f"Ask several backends the same, all at once, and print what each of them says. {SERVER}",
        epilog="Exit code 0: all have answered. 1: one has failed, or the server refused. Others: as for `prompt`.",
    )
    comparing.add_argument(
        "-b", "--backend", action="append", required=True, metavar="NAME", help="whom to ask; once for each"
    )
    comparing.add_argument(
        "-m",
        "--model",
        action="append",
        default=[],
        metavar="[BACKEND=]NAME",
        help="the model of one of them, or of all that have none of their own",
    )
    comparing.add_argument("--sequential", action="store_true", help="one after the other instead of all at once")
    comparing.add_argument("--json", action="store_true", help="print the server's whole answer, as JSON")
    comparing.set_defaults(run=_run, action="compare")


def _run(arguments: argparse.Namespace) -> int:
    from app.client.commands import run  # noqa: PLC0415 - it brings an HTTP client, which other commands do without

    return run(arguments)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")
    return int(text)


def _note(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"must be NAME=TEXT, not {text!r}")
    return name, value
