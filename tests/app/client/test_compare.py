"""``clinvk compare``."""

import json

from tests.app.client.conftest import Typist
from tests.app.client.test_prompt import on_a_terminal, plain
from tests.fake_cli.install import seen


def test_each_answer_stands_below_its_backend(typed: Typist) -> None:
    done = typed("compare", "-b", "codex", "-b", "claude", "-m", "claude=opus", "-m", "any", "hello")
    assert (done.code, done.err) == (0, "")
    head, codex, second, claude = [part for part in done.out.split("\n") if part]
    assert (head, second) == ("── codex (any) ──", "── claude (opus) ──")
    assert (seen(codex)["name"], seen(codex)["model"]) == ("codex", "any")
    assert (seen(claude)["name"], seen(claude)["model"]) == ("claude", "opus")


def test_one_that_fails_does_not_keep_the_others_back(typed: Typist) -> None:
    done = typed("compare", "-b", "nobody", "-b", "claude", "hi")
    assert (done.code, done.out) == (1, "")
    assert "there is no backend 'nobody'" in done.err
    done = typed("compare", "-b", "claude", "-b", "demo", "FAKE:401")
    assert done.code == 1
    assert "This is the demo backend" in done.out
    assert done.err.startswith("clinvk: claude: ")


def test_the_whole_answer_as_json(typed: Typist) -> None:
    done = typed("compare", "-b", "claude", "-b", "demo", "--sequential", "--json", "hi")
    assert [result["backend"] for result in json.loads(done.out)["results"]] == ["claude", "demo"]
    assert typed("compare", "-b", "claude", "-b", "demo", "--json", "FAKE:exit=4").code == 1


def test_a_terminal_shows_how_far_each_is(typed: Typist) -> None:
    code, shown = on_a_terminal(typed, "compare", "-b", "claude", "-b", "codex", "FAKE:first=0.5 hi")
    assert code == 0
    assert "claude waiting · 0 s" in plain(shown)
    assert "✓ codex" in plain(shown)
    assert plain(shown).count("── claude (claude-fake) ──\n") == 1


def test_backends_must_be_named(typed: Typist) -> None:
    done = typed("compare", "hi")
    assert done.code == 2
    assert "-b/--backend" in done.err
