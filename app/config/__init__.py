"""The configuration: read once, checked whole, handed on as frozen dataclasses."""

from app.config.errors import EXIT_CONFIG, ConfigError, refuse
from app.config.load import config_file, home_folder, load_config

__all__ = ["EXIT_CONFIG", "ConfigError", "config_file", "home_folder", "load_config", "refuse"]
