"""Puts the report together."""

import logging
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from app import __version__
from app.config import ConfigError, config_file, load_config
from app.doctor.backends import look_at_backends
from app.doctor.findings import Report, faults
from app.doctor.surroundings import of_configuration, of_error, of_folders, of_server
from app.source import memory_bytes


def examine(path: Path | None, environ: Mapping[str, str] = os.environ) -> Report:
    """Look at everything that the configuration in this file, or the usual one, speaks of."""
    logging.getLogger("services").addHandler(logging.NullHandler())  # what it has to say is in the report
    user = _user()
    try:
        config = load_config(path, environ=environ, memory_bytes=memory_bytes())
        file = config_file(environ, path)
    except ConfigError as error:
        return Report(__version__, user, tuple(of_error(error)))
    configuration = tuple(of_configuration(config, file))
    if any(faults(configuration)):
        return Report(__version__, user, configuration)
    return Report(
        __version__,
        user,
        configuration,
        look_at_backends(config, environ),
        tuple(of_folders(config)),
        tuple(of_server(config)),
    )


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # in a container, say
        return str(os.geteuid())
