"""What the configuration lists is what the routes will ask for, in its order, and no more than may wait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.at_start import prepare_at_start
from services.planning import Kept, Plan
from services.prompts import Prompt
from services.session_runs import SessionRuns
from services.settings import BackendSettings, Config, SdkSettings, ServerSettings, SessionSettings, WarmStart
from services.store_access import StoreAccess
from tests.support.fake_runs import FakeRuns


class NotingRuns(FakeRuns):
    """Runs that note what is to be started in advance."""

    def __init__(self) -> None:
        super().__init__({})
        self.prepared: list[Plan] = []

    def prepare(self, plan: Plan, idle_s: float | None = None) -> None:
        assert idle_s is None
        self.prepared.append(plan)


def prepared(folder: Path, *wanted: WarmStart, total: int = 8, sdk: SdkSettings | None = None) -> list[Plan]:
    """What is started for a list."""
    runs = NotingRuns()
    sessions = SessionRuns(
        runs,
        runs.backends,
        store=StoreAccess(folder / "sessions.db"),
        settings=SessionSettings(),
        folder=folder / "work",
        worker="nobody",
    )
    server = ServerSettings(warm_processes=total, warm_at_start=wanted)
    config = Config(folder, backends={name: BackendSettings() for name in runs.backends}, server=server)
    prepare_at_start(sessions, replace(config, sdk=sdk or SdkSettings()))
    return runs.prepared


def test_a_session_of_the_native_api(tmp_path: Path) -> None:
    (plan,) = prepared(tmp_path, WarmStart("claude", model="opus", system_prompt="be brief"))
    assert plan.options.private_folder
    assert plan.options.keep_session is plan.backend.can_resume
    assert isinstance(plan.kept, Kept)
    assert Path(plan.options.workdir).parent == tmp_path / "work"
    assert (plan.options.model, plan.options.system_prompt, plan.prompt.owner) == ("opus", "be brief", "")


def test_an_ephemeral_prompt(tmp_path: Path) -> None:
    (plan,) = prepared(tmp_path, WarmStart("claude", ephemeral=True, max_tokens=10))
    runs = FakeRuns({})
    assert plan.options == runs.check(Prompt("claude", "other", ephemeral=True, max_tokens=10)).options


@pytest.mark.parametrize("api", ["openai", "anthropic"])
@pytest.mark.parametrize("tools", ["none", "cli"])
def test_a_prompt_of_a_chat_api(tmp_path: Path, api: str, tools: str) -> None:
    wanted = WarmStart("gemini", api, system_prompt="be brief")  # type: ignore[arg-type]
    (plan,) = prepared(tmp_path, wanted, sdk=SdkSettings(tools))  # type: ignore[arg-type]
    told = {"system_prompt": "be brief"} if tools == "none" else {"append_system_prompt": "be brief"}
    asked = Prompt("gemini", "other", ephemeral=True, chat=True, as_model=tools == "none", **told)  # type: ignore[arg-type]
    assert plan.options == FakeRuns({}).check(asked).options


def test_the_list_is_begun_at_its_top_and_ends_where_there_is_no_room(tmp_path: Path) -> None:
    wanted = [WarmStart("claude", count=2), WarmStart("codex", count=5), WarmStart("gemini")]
    plans = prepared(tmp_path, *wanted, total=4)
    assert [plan.backend.name for plan in plans] == ["claude", "claude", "codex", "codex"]


def test_one_that_cannot_be_is_told_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plans = prepared(tmp_path, WarmStart("claude", model="-x"), WarmStart("codex"))
    assert [plan.backend.name for plan in plans] == ["codex"]
    assert "server.warm_at_start[0]: " in caplog.text
