"""Texts that a person reads are short sentences in plain words."""

from __future__ import annotations

import pytest

from tests import words


def test_no_sentence_is_too_long_or_badly_worded() -> None:
    assert [f"{each.place}: {each.reason}: {each.sentence}" for each in words.everything()] == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("word " * 31, "31 words"),
        ("You are told so.", "told"),
        ("What was sent is known.", "subject"),
        ("A fault in the file.", "error"),
        ("The end of the first of the links of the account.", "chain"),
        ("One: two: three.", "colon"),
        ("Be it so, or be it not.", "be it"),
    ],
)
def test_what_it_complains_about(text: str, reason: str) -> None:
    ((_, said, _),) = words.complaints("page", text)
    assert reason in said


def test_what_it_leaves_alone() -> None:
    text = (
        "# A fault\n\n"
        + "word " * 20
        + ". `told`. Another "
        + "word " * 20
        + "\n\n```sh\n# be it\n```\n\n| told |\n"
    )
    found = [each for paragraph in words.paragraphs(text) for each in words.complaints("page", paragraph)]
    assert [each.sentence for each in found] == ["told"]
