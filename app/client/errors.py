"""Why a command of a client has come to nothing, and its exit code."""

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NO_SERVER = 3
EXIT_INTERRUPTED = 130
LARGEST_EXIT_CODE = 125
"""A shell gives those above it a meaning of their own."""


class ClientError(Exception):
    """What went wrong, in words for the person who typed the command."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


def exit_code_of(cli_exit_code: int) -> int:
    """The exit code for a failed run whose CLI ended with this one: the same where a shell can tell it, else 1."""
    return cli_exit_code if 0 < cli_exit_code <= LARGEST_EXIT_CODE else EXIT_FAILED
