"""The command line: ``clinvk serve``, ``config check``, ``doctor``, ``prompt``, ``compare``, ``sessions``."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app import __version__
from app.client.cli import add_commands as add_clients
from app.config import EXIT_CONFIG, ConfigError, config_file, load_config
from app.config.report import in_force
from app.doctor.cli import add_commands as add_doctor
from app.sessions_cli import add_commands as add_sessions
from app.source import memory_bytes

DESCRIPTION = (
    "One HTTP server in front of the AI command lines that you already have: claude, codex, gemini and others."
)
EPILOG = """\
The configuration is read from ~/.clinvk/config.yaml; --config or CLINVK_CONFIG names another file, CLINVK_HOME another
folder. What is given on the command line wins over the environment, that over the file, that over the defaults.
"""


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="clinvk", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"clinvk {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    config = argparse.ArgumentParser(add_help=False)
    config.add_argument("--config", metavar="FILE", type=Path, help="the configuration file (it must exist)")

    serving = commands.add_parser(
        "serve",
        parents=[config],
        help="start the server",
        description="Start the server. It stops on Ctrl-C at once, and on SIGTERM when the running answers are done; "
        "SIGHUP makes it read its configuration again.",
        epilog="Exit code 2: the configuration is at fault, and nothing was started.",
    )
    serving.add_argument("--host", help="where to listen: an address, a name, or unix:/path (default: 127.0.0.1)")
    serving.add_argument("-p", "--port", type=int, help="the port to listen on; 0 takes a free one (default: 8080)")
    serving.add_argument("--demo", action="store_true", help="add the backend `demo`, which needs no account")
    serving.set_defaults(run=_serve)

    configuring = commands.add_parser(
        "config", help="look at the configuration", description="Look at the configuration."
    )
    actions = configuring.add_subparsers(title="commands", metavar="COMMAND", required=True)
    checking = actions.add_parser(
        "check",
        parents=[config],
        help="check the configuration and print what is in force",
        description="Check the configuration. Prints every key with the value that is in force, as YAML that is itself "
        "a configuration file; or what is wrong, with exit code 2.",
    )
    checking.set_defaults(run=_check)
    add_doctor(commands, config)
    add_clients(commands, config)
    add_sessions(commands, config)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    arguments = parser().parse_args(argv)
    code: int = arguments.run(arguments)
    return code


def _serve(arguments: argparse.Namespace) -> int:
    from app.server import serve  # noqa: PLC0415 - it brings gunicorn, which nothing else needs

    flags: Mapping[str, Any] = {
        "server.host": arguments.host,
        "server.port": arguments.port,
        "backends.demo.enabled": arguments.demo or None,
    }
    serve(arguments.config, {key: value for key, value in flags.items() if value is not None})


def _check(arguments: argparse.Namespace) -> int:
    try:
        config = load_config(arguments.config, environ=os.environ, memory_bytes=memory_bytes())
        file = config_file(os.environ, arguments.config)
    except ConfigError as error:
        print(f"clinvk: {error}", file=sys.stderr)
        return EXIT_CONFIG
    print(f"# {file}{'' if file.exists() else ' (there is none: these are the defaults)'}")
    print(f"# API keys from the environment: {len(config.server.api_keys)}")
    print(in_force(config), end="")
    return 0
