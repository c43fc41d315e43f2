"""``clinvk doctor`` with the real CLIs, which are asked for their version and their login and for nothing else."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import GUNICORN
from tests.e2e import clis
from tests.e2e.fake_upstream import ModelServer
from tests.support.guard import clean_environment

CLINVK = GUNICORN.with_name("clinvk")


def examined(environment: dict[str, str]) -> dict[str, Any]:
    """The report, and of each backend its part by name."""
    done = subprocess.run(
        [str(CLINVK), "doctor", "--json"], env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["exit_code"] == done.returncode
    return {backend["name"]: backend for backend in report["backends"]} | {"ready": report["ready"]}


@pytest.fixture
def bare(real_clis: Path, tmp_path: Path) -> dict[str, str]:
    """An environment with the CLIs, and a home folder with nothing in it."""
    (tmp_path / "bare").mkdir()
    clean = clean_environment(tmp_path / "bare", clis.search_path(tmp_path / "tools"))
    return clean | {
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_AUTOUPDATER": "1",
    }


def test_nobody_is_logged_in(bare: dict[str, str]) -> None:
    report = examined(bare)
    assert report["ready"] == []
    for name in clis.NAMES:
        assert (report[name]["tested"], report[name]["logged_in"]) == (True, False), report[name]
        assert report[name]["program"] == str(clis.BIN / name)
        assert [finding["level"] for finding in report[name]["findings"]] == ["fault"]


def test_keys_log_in_where_they_do(bare: dict[str, str]) -> None:
    secret = "sk-ant-not-to-be-seen-0123456789"
    report = examined(bare | {"ANTHROPIC_API_KEY": secret, "GEMINI_API_KEY": secret, "OPENAI_API_KEY": secret})
    assert report["ready"] == ["claude", "gemini"], "codex does not heed OPENAI_API_KEY by itself"
    assert report["codex"]["findings"][0]["fix"].startswith(
        "run `printenv OPENAI_API_KEY | codex login --with-api-key`"
    )
    assert report["claude"]["login"] == "an API key (ANTHROPIC_API_KEY)"
    assert report["gemini"]["login"] == "an API key (GEMINI_API_KEY)"
    assert secret not in json.dumps(report)


def test_a_key_that_codex_keeps(bare: dict[str, str]) -> None:
    folder = Path(bare["HOME"]) / ".codex"
    folder.mkdir()
    (folder / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": "sk-not-to-be-seen-0123456789"}))
    report = examined(bare)
    assert report["ready"] == ["codex"]
    assert report["codex"]["login"] == "an API key that it keeps"


def test_no_model_is_asked(cli_environment: dict[str, str], model_server: ModelServer) -> None:
    """The set-up of the other tests here, in which all three do answer."""
    report = examined(cli_environment)
    assert report["ready"] == ["claude", "codex", "gemini"]
    assert report["codex"]["login"] == "OPENAI_API_KEY, for the provider 'fake' of its config.toml"
    assert model_server.turns() == []
