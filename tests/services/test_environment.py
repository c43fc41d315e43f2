"""What a CLI may know of the server's environment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.environment import allowed, child_environment, mask, secrets_of


def test_common_and_own_variables_pass() -> None:
    base = {
        "PATH": "/bin", "LC_ALL": "C", "https_proxy": "p", "ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o",
        "CLINVK_API_KEYS": "k", "AWS_SECRET_ACCESS_KEY": "s", "LD_PRELOAD": "x", "PYTHONPATH": "y",
    }  # fmt: skip
    assert child_environment(base, ("ANTHROPIC_*",)) == {
        "PATH": "/bin", "LC_ALL": "C", "https_proxy": "p", "ANTHROPIC_API_KEY": "a",
    }  # fmt: skip


@given(st.text(max_size=5), st.lists(st.sampled_from(["*", "CLINVK_*", "C*", "CLINVK_API_KEYS"])))
def test_nothing_of_ours_passes_whatever_the_patterns(rest: str, patterns: list[str]) -> None:
    assert not allowed("CLINVK_" + rest, patterns)


def test_a_name_is_no_prefix() -> None:
    assert allowed("OPENAI_API_KEY", ["OPENAI_API_KEY"])
    assert not allowed("OPENAI_API_KEY_2", ["OPENAI_API_KEY"])


@pytest.mark.parametrize(
    "secret",
    [
        "sk-ant-api03-abcdefghijkl",
        "AIzaSyA1234567890abcdefghij",
        "ghp_abcdefghijklmnopqrst12",
        "sk-proj-ABCDEFGHIJKLMNOP",
    ],
)
def test_what_looks_like_a_key_is_masked(secret: str) -> None:
    assert mask(f"Error: key {secret} is wrong") == "Error: key *** is wrong"


def test_bearer_tokens_are_masked() -> None:
    assert mask("Authorization: Bearer abcdefghijklmnop1234") == "Authorization: Bearer ***"


def test_known_values_are_masked_the_longest_first() -> None:
    secrets = secrets_of(
        {"A_TOKEN": "abcdefgh", "B_KEY": "abcdefghijkl", "C_KEY": "short", "NAME": "not-secret-at-all"}
    )
    assert secrets == ("abcdefghijkl", "abcdefgh")
    assert mask("abcdefghijkl abcdefgh short not-secret-at-all", secrets) == "*** *** short not-secret-at-all"
