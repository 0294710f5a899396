from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import parse_duration
from exporter.config.values import format_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("90s", 90.0),
        ("1h30m", 5400.0),
        ("21s", 21.0),
        ("500ms", 0.5),
        ("1m500ms", 60.5),
        ("1y1w1d1h1m1s1ms", 32_230_861.001),
        ("100y", 3_153_600_000.0),
    ],
)
def test_parse(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a duration: write whole numbers with units, such as 90s, 5m or 1h30m"),
        ("1.5h", "is not a duration: write whole numbers with units, such as 90s, 5m or 1h30m"),
        ("30m1h", "is not a duration: write whole numbers with units, such as 90s, 5m or 1h30m"),
        ("1m ", "is not a duration: write whole numbers with units, such as 90s, 5m or 1h30m"),
        ("-1s", "is not a duration: write whole numbers with units, such as 90s, 5m or 1h30m"),
        ("٣s", "is not a duration: write whole numbers with units, such as 90s, 5m or 1h30m"),
        ("60", "has no unit: write 60s if it is seconds"),
        ("101y", "is too long: write at most 100y"),
        ("9" * 5000 + "s", "is too long: write at most 100y"),
    ],
)
def test_refuse(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"is|has") as caught:
        parse_duration(text)
    assert str(caught.value) == message


@given(st.integers(min_value=0, max_value=10**12))
def test_written_durations_read_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


def test_format() -> None:
    assert [format_duration(seconds) for seconds in (0, 250, 0.5, 90_061)] == [
        "0s",
        "4m10s",
        "500ms",
        "1d1h1m1s",
    ]
