"""The file itself: absent, unreadable, not YAML, or any YAML at all."""

from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from app.config import ConfigError, load_config
from app.config.schemas import ConfigSection
from app.config.yaml_file import MAX_BYTES
from services.settings import Config
from tests.app.config.reading import ENVIRON, problems, read


@pytest.mark.parametrize(
    ("text", "location", "message"),
    [
        ("server: [", "line 1, column 10", "not valid YAML: "),
        ("server:\n  port: 1\n port: 2\n", "line 3, column 2", "not valid YAML: "),
        ("server:\n\tport: 1\n", "line 2, column 1", "not valid YAML: "),
        ("server: {port: 1}\nserver: {port: 2}\n", "line 2, column 1", "not valid YAML: server is given twice"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1", "not valid YAML: "),
        ("a: !!int x\n", "line 1, column 4", "not valid YAML: not a valid value for int"),
        ("a: !!timestamp x\n", "line 1, column 4", "not valid YAML: not a valid value for timestamp"),
        ("a: 2020-99-99\n", "line 1, column 4", "not valid YAML: not a valid value for timestamp"),
        ("a: !!python/object:os.system x\n", "line 1, column 4", "not valid YAML: could not determine a constructor"),
        ("{[a]: 1}\n", "line 1, column 2", "not valid YAML: "),
        ("a: *nothing\n", "line 1, column 4", "not valid YAML: "),
        ("a: \x07\n", "", "not valid YAML: special characters are not allowed"),
        ("- server\n", "", "it must be a mapping of sections"),
        ("server\n", "", "it must be a mapping of sections"),
        ("&a {b: *a}\n", "", "it is nested too deeply, or in itself"),
        ("[" * 5000, "", "it is nested too deeply, or in itself"),
    ],
)
def test_says_where_it_is_not_yaml(tmp_path: Path, text: str, location: str, message: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert problem.location == location
    assert problem.message.startswith(message)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("server:\n  port: 1\n host: x\n", "(this line is indented otherwise than the keys beside it)"),
        ("server:\n\tport: 1\n", "(indent with spaces, not with tabs)"),
        ("backends:\n  claude:\n    system_prompt: be: brief\n", "(put a text with `: ` in it in quotes; "),
    ],
)
def test_says_what_is_most_likely_behind_it(tmp_path: Path, text: str, hint: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert hint in problem.message


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    for text in ("", "\n", "# nothing\n", "---\n", "null\n", "server:\n", "\ufeffserver:\n"):
        assert read(tmp_path, text).server == read(tmp_path, {}).server


def test_merge_keys_work(tmp_path: Path) -> None:
    text = "backends:\n  claude: &c {model: x, max_retries: 1}\n  codex: {<<: *c, model: y}\n"
    assert read(tmp_path, text).backends["codex"].max_retries == 1


def told(path: Path, **environ: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(path, environ=ENVIRON | environ)
    return str(raised.value)


def test_a_file_that_is_named_must_be_there_and_readable(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert told(missing) == f"configuration error in {missing}: there is no such file"
    assert told(tmp_path) == f"configuration error in {tmp_path}: it cannot be read: Is a directory"
    assert "embedded null byte" in told(Path("/a\0b"))
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(environ={**ENVIRON, "CLINVK_CONFIG": str(missing)})


def test_a_file_must_be_of_a_sane_size_and_encoding(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    assert "it is larger than 1024 KiB" in told(file)
    file.write_bytes(b"server: \xff\n")
    assert "it is not UTF-8 (byte 8)" in told(file)


def test_a_file_that_cannot_be_read_is_an_error_even_where_it_may_be_absent(tmp_path: Path) -> None:
    (tmp_path / ".clinvk").touch()
    with pytest.raises(ConfigError, match="it cannot be read: Not a directory"):
        load_config(environ={"HOME": str(tmp_path)})


def load(data: bytes) -> Config | ConfigError:
    """What comes of any bytes as a file; anything but these two is a bug, and raised."""
    with NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            return load_config(file.name, environ=ENVIRON)
        except ConfigError as error:
            return error


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["all", "auto", "127.0.0.1", "/x", "", "redis://x", "{prompt}", "{value}"])
    | st.dates()
    | st.binary(max_size=4)
)


def values(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), children, max_size=3)


ANYTHING = st.recursive(SCALARS, values, max_leaves=6)


def keys_of(name: str) -> list[str]:
    schema = getattr(ConfigSection().fields[name], "schema", None)
    return list(schema.fields) if schema else ["claude", "demo", "llm"]


def sections(name: str) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(keys_of(name)), ANYTHING, max_size=5) | ANYTHING


TREES = st.fixed_dictionaries({}, optional={name: sections(name) for name in ConfigSection().fields})


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf")
def test_any_bytes_give_a_config_or_a_config_error(data: bytes) -> None:
    assert isinstance(load(data), Config | ConfigError)


@given(st.text(alphabet="abc:-[]{}&*!|>#'\"%@,?\n\t 0123.eE+x", max_size=80))
def test_anything_like_yaml_gives_a_config_or_a_config_error(text: str) -> None:
    assert isinstance(load(text.encode()), Config | ConfigError)


@given(TREES)
def test_any_tree_gives_a_config_or_a_config_error(tree: Any) -> None:
    outcome = load(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))
    assert isinstance(outcome, Config | ConfigError)
    if isinstance(outcome, ConfigError):
        assert all(problem.message for problem in outcome.problems)
