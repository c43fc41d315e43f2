"""What is in force, told as a file."""

from pathlib import Path

import yaml

from app.config.report import in_force
from tests.app.config.reading import ENVIRON, read
from tests.app.config.test_keys import TABLES, tree_for


def test_the_report_is_a_file_that_gives_the_same(tmp_path: Path) -> None:
    for key, (good, *_) in TABLES.items():
        config = read(tmp_path, tree_for(key, good))
        assert read(tmp_path, in_force(config)) == config, key


def test_the_report_of_a_default_configuration_has_every_section(tmp_path: Path) -> None:
    tree = yaml.safe_load(in_force(read(tmp_path, "")))
    assert tree["server"]["port"] == 8080
    assert list(tree["backends"]) == ["claude", "codex", "gemini"]


def test_no_secret_is_shown(tmp_path: Path) -> None:
    text = (
        "session: {database_url: 'postgresql://me:s3cret@h/d'}\nserver: {rate_limit_storage_uri: 'redis://:s3cret@h'}"
    )
    told = in_force(read(tmp_path, text, ENVIRON | {"CLINVK_API_KEYS": "s3cret"}))
    assert "s3cret" not in told
    assert "postgresql://me:***@h/d" in told
