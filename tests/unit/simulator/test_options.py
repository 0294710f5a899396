import re

import pytest

from exporter.simulator import Settings, demo_links, numbered_links
from exporter.simulator.options import parse_latency
from tests.unit.simulator.helpers import LINKS, SPRING, Scene


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", (0.0, 0.0)),
        ("0.1", (0.1, 0.1)),
        ("50ms", (0.05, 0.05)),
        ("2s", (2.0, 2.0)),
        ("0.05-0.2", (0.05, 0.2)),
        ("50-200ms", (0.05, 0.2)),
        ("50ms-2s", (0.05, 2.0)),
        ("500ms-1", (0.5, 1.0)),
    ],
)
def test_latency_is_seconds_or_milliseconds_or_a_range(text: str, seconds: tuple[float, float]) -> None:
    assert parse_latency(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("setting", "value", "advice"),
    [
        ("latency", "slow", "latency 'slow': write seconds as 0.1 or 100ms, or a range as 0.05-0.2"),
        ("latency", "", "write seconds as 0.1"),
        ("latency", "-1", "write seconds as 0.1"),
        ("latency", "0.2-0.1", "latency '0.2-0.1': write the smaller number first"),
        ("midnight", "25:00", "midnight '25:00': write the UTC time of day"),
        ("faults", "explode", "fault 'explode': write one of"),
        ("breaches", 0, "breaches 0: write 1 or more"),
    ],
)
def test_a_setting_written_wrongly_is_refused_with_advice(setting: str, value: object, advice: str) -> None:
    with pytest.raises(ValueError, match=re.escape(advice)):
        Settings(**{setting: value})  # type: ignore[arg-type]  # wrong on purpose


def test_options_become_settings() -> None:
    settings = Settings.from_options(
        links="3", latency="50ms", faults=["hang:0.5", "html"], seed="7", midnight="21:30"
    )
    assert settings == Settings(
        links=numbered_links(3), latency="50ms", faults="hang:0.5,html", seed=7, midnight="21:30"
    )


def test_without_options_it_is_the_demo() -> None:
    assert Settings.from_options() == Settings()
    assert Settings().links == demo_links()


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"links": "many"}, "links 'many': write a whole number"),
        ({"links": -1}, "-1 links: write 1 or more"),
        ({"seed": "x"}, "seed 'x': write a whole number"),
        ({"faults": ["hang", "explode"]}, "fault 'explode'"),
    ],
    ids=str,
)
def test_an_option_written_wrongly_is_refused_with_advice(options: dict[str, object], advice: str) -> None:
    with pytest.raises(ValueError, match=re.escape(advice)):
        Settings.from_options(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_settings_show_no_passwords() -> None:
    settings = Settings(accounts={"demo": "very-secret"}, api_keys={"secret-key": "demo"})
    assert "secret" not in repr(settings)


def test_latency_is_the_same_or_drawn_from_its_range() -> None:
    assert Scene(Settings(links=LINKS, latency="0.1")).arrive(id=SPRING.id).latency == 0.1
    scene = Scene(Settings(links=LINKS, latency="0.1-0.2"))
    drawn = [scene.arrive(id=SPRING.id).latency for _ in range(100)]
    assert all(0.1 <= latency <= 0.2 for latency in drawn)
    assert len(set(drawn)) > 90
