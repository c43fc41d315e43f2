"""Extra flags: what is not on the list gets nowhere, however it is spelled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import ClinvkError, ErrorCode
from services.flags import check_extra

ALLOWED = {"--model": True, "--verbose": False}


def test_both_spellings() -> None:
    assert check_extra(["--model", "m", "--verbose"], ALLOWED, "extra") == {"--model": "m", "--verbose": ""}
    assert check_extra(["--model=m=n"], ALLOWED, "extra") == {"--model": "m=n"}
    assert check_extra(["--model=--odd"], ALLOWED, "extra") == {"--model": "--odd"}


@pytest.mark.parametrize(
    ("extra", "location"),
    [
        (["--resume", "x"], "extra[0]"),
        (["--verbose", "--resume=x"], "extra[1]"),
        (["--model", "--resume"], "extra[1]"),
        (["--model"], "extra"),
        (["--verbose=yes"], "extra[0]"),
        (["word"], "extra[0]"),
        (["--mod", "x"], "extra[0]"),
        (["--MODEL", "x"], "extra[0]"),
        (["-m", "x"], "extra[0]"),
        (["--"], "extra[0]"),
        (["--verbose --resume"], "extra[0]"),
        (["--verbose\n"], "extra[0]"),
        ([""], "extra[0]"),
    ],
)
def test_everything_else_is_refused_by_place(extra: list[str], location: str) -> None:
    with pytest.raises(ClinvkError) as caught:
        check_extra(extra, ALLOWED, "extra")
    assert caught.value.code is ErrorCode.FLAG_NOT_ALLOWED
    assert caught.value.problems[0].location == location


@given(st.lists(st.sampled_from(["--model", "--verbose", "--resume", "-c", "x", "--model=y", "--", ""]) | st.text()))
def test_what_passes_holds_nothing_but_listed_flags_and_their_values(extra: list[str]) -> None:
    try:
        flags = check_extra(extra, ALLOWED, "extra")
    except ClinvkError:
        return
    assert set(flags) <= set(ALLOWED)
    values = iter(extra)
    for word in values:
        assert word.partition("=")[0] in ALLOWED
        if word == "--model":
            assert not next(values).startswith("-")
