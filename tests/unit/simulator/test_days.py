import pytest

from exporter.simulator.days import DAY, Calendar, utc_offset
from tests.unit.simulator.helpers import utc


@pytest.mark.parametrize(
    ("midnight", "offset"),
    [
        ("21:00", 3 * 3600),
        ("00:00", 0),
        ("05:00", -5 * 3600),
        ("12:00", 12 * 3600),
        ("11:59:59", -(12 * 3600 - 1)),
        ("23:59:30", 30),
    ],
)
def test_midnight_in_utc_gives_the_distance_from_utc(midnight: str, offset: int) -> None:
    assert utc_offset(midnight) == offset


@pytest.mark.parametrize("midnight", ["", "24:00", "9:00", "21:60", "21:00:61", "Moscow"])
def test_a_midnight_that_is_none_is_refused_with_advice(midnight: str) -> None:
    with pytest.raises(ValueError, match=r"write the UTC time of day as HH:MM or HH:MM:SS, such as 21:00"):
        utc_offset(midnight)


@pytest.mark.parametrize(
    ("moment", "yesterday", "today", "previous_month", "month"),
    [
        ("2024-05-15 09:00", "2024-05-14", "2024-05-15", "2024-04-01", "2024-05-01"),
        ("2024-02-29 20:59:59", "2024-02-28", "2024-02-29", "2024-01-01", "2024-02-01"),
        ("2024-02-29 21:00", "2024-02-29", "2024-03-01", "2024-02-01", "2024-03-01"),
        ("2023-12-31 21:00", "2023-12-31", "2024-01-01", "2023-12-01", "2024-01-01"),
    ],
)
def test_days_and_months_begin_at_the_providers_midnight(
    moment: str, yesterday: str, today: str, previous_month: str, month: str
) -> None:
    calendar = Calendar("21:00")
    periods = calendar.periods(calendar.local(utc(moment)))
    assert periods._asdict() == {
        "yesterday": utc(yesterday),
        "today": utc(today),
        "previous_month": utc(previous_month),
        "month": utc(month),
    }


def test_a_calendar_asked_again_notices_the_next_day() -> None:
    calendar = Calendar("00:00")
    assert calendar.periods(10 * DAY + 5).today == 10 * DAY
    assert calendar.periods(10 * DAY + 6).today == 10 * DAY
    assert calendar.periods(11 * DAY).today == 11 * DAY
