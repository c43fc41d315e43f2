"""The configuration: read once, checked whole, handed on as frozen dataclasses."""

from app.config.errors import ConfigError
from app.config.load import config_file, home_folder, load_config

__all__ = ["ConfigError", "config_file", "home_folder", "load_config"]
