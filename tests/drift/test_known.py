"""What clinvk reads of a line is found in its code."""

from pathlib import Path

import pytest

from tests.drift import known

READ = [
    ("claude", ("result", "success"), ("usage", "input_tokens")),
    ("claude", ("stream_event", "content_block_delta", "text_delta"), ("event", "delta", "text")),
    ("codex", ("answer to", "thread/start"), ("result", "thread", "id")),
    ("codex", ("turn/completed",), ("params", "turn", "status")),
    ("gemini", ("session/update", "agent_message_chunk", "text"), ("params", "update", "content", "text")),
]
UNREAD = [
    ("claude", ("result", "success"), ("usage", "service_tier")),
    ("claude", ("no_such_kind",), ("usage", "input_tokens")),
    ("codex", ("turn/completed",), ("params", "turn", "rootTurnId")),
    ("gemini", ("session/update", "available_commands_update"), ("params", "update")),
]


@pytest.mark.parametrize(("cli", "kind", "path"), READ)
def test_read(cli: str, kind: tuple[str, ...], path: tuple[str, ...]) -> None:
    assert known.reads_field(cli, kind, path)


@pytest.mark.parametrize(("cli", "kind", "path"), UNREAD)
def test_not_read(cli: str, kind: tuple[str, ...], path: tuple[str, ...]) -> None:
    assert not known.reads_field(cli, kind, path)


def test_elements_and_keys_that_are_no_names_need_no_word() -> None:
    assert known.reads_field("claude", ("assistant",), ("message", "content", "[]", "*"))


def test_texts_of_a_file(tmp_path: Path) -> None:
    source = tmp_path / "reads.py"
    source.write_text('value = line["usage"].get("input_tokens", 0)  # "not this"\n')
    assert set(known.texts(source)) == {"usage", "input_tokens"}
