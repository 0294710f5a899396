"""Events as one line of JSON, and which of them bind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import Outcome
from exporter.limits import Answered, Event, Request, Sent
from exporter.limits.events import binds, decode, encode, lasting
from exporter.model import Reading

_texts = st.text(max_size=20)
_names = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=20)
_counts = st.integers(0, 2**53)
_seconds = st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000)
_requests = st.builds(
    Request, host=_texts, login=_texts, secret=_texts, target=st.tuples(_texts, _texts), timeout=_seconds
)
_readings = st.builds(
    Reading,
    id=_names,
    all_time=_counts,
    month=_counts,
    today=_counts,
    yesterday=_counts,
    previous_month=_counts,
    short_link=_names,
)
_numbers = st.integers(0, 2**62)
_answers = st.builds(
    Answered,
    request=_requests,
    number=_numbers,
    outcome=st.none() | st.sampled_from(Outcome),
    abandoned=st.booleans(),
    transport=st.booleans(),
    unclear=st.booleans(),
    retry_after=st.none() | _seconds,
    elapsed=_seconds,
    link=st.tuples(_texts, _texts),
    reading=st.none() | _readings,
    total=_counts,
    binds=st.booleans(),
    lasting=st.booleans(),
)


@given(event=st.builds(Sent, request=_requests, number=_numbers) | _answers)
def test_an_event_survives_being_written_and_read(event: Event) -> None:
    line = encode(event)
    assert "\n" not in line
    assert decode(line) == event


def _sent() -> Sent:
    return Sent(Request("smscentre.com", "a", "a:1", ("id", "1"), 10.0))


_HEAD: list[Any] = [["h", "l", "s", ["id", "1"], 10.0], 1]
_END = [*_HEAD, "ok", False, False, False, 1.0, 0.1, ["a", "x"], None, 0, False, False]
_ODD: list[Any] = [{}, [], 10**400, float("inf")]


def test_an_event_is_its_fields_in_their_order() -> None:
    assert isinstance(decode(json.dumps(_HEAD)), Sent)
    assert isinstance(decode(json.dumps(_END)), Answered)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no JSON",
        "5",
        "null",
        "[]",
        "[1]",
        "{}",
        json.dumps([*_HEAD, "no such outcome", *_END[3:]]),
        json.dumps([*_HEAD, "ok"]),
        json.dumps([*_END, 0]),
        json.dumps([*_END[:9], [1], *_END[10:]]),
        json.dumps([["h", "l", "s", ["id", 1], 10.0], 1]),
        "[" * 10_000,
        *(json.dumps([*_END[:at], value, *_END[at + 1 :]]) for at in range(len(_END)) for value in _ODD),
    ],
)
def test_what_is_no_event_is_named_so(line: str) -> None:
    with pytest.raises(ValueError, match="not an event of smsc-exporter"):
        decode(line)


def test_two_requests_have_two_numbers() -> None:
    assert _sent().number != _sent().number


def test_what_was_sent_binds_and_ends_bind_if_they_say_so() -> None:
    sent = _sent()
    assert binds(sent)
    assert not lasting(sent)
    for flag in (False, True):
        answer = Answered(sent.request, sent.number, Outcome.OK, binds=flag, lasting=flag)
        assert binds(answer) is flag
        assert lasting(answer) is flag
