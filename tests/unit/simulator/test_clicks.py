from dataclasses import replace
from itertools import pairwise

import pytest

from exporter.simulator import Figures, Settings, SimulatedLink, demo_links, numbered_links
from tests.unit.simulator.helpers import AUTUMN, LINKS, SPRING, Scene


def scene_of(link: SimulatedLink, moment: str = "2024-05-15 09:00", seed: int = 1) -> Scene:
    return Scene(Settings(links=[link], seed=seed), moment)


def gained(scene: Scene, seconds: float, link: str = SPRING.id) -> int:
    before = scene.provider.figures(link).cnt
    scene.clock.forward(seconds)
    return scene.provider.figures(link).cnt - before


def test_a_link_has_a_plausible_history_at_the_start() -> None:
    figures = Scene().provider.figures(SPRING.id)
    assert figures.cnt > figures.cnt_pmon > figures.cnt_mon > figures.cnt_yes > figures.cnt_day > 0


def test_a_link_younger_than_its_periods_counts_only_what_it_had() -> None:
    cnt, month, today, yesterday, previous = scene_of(replace(SPRING, age_days=0)).provider.figures(SPRING.id)
    assert cnt == month == today > 0
    assert yesterday == previous == 0


def test_counts_depend_on_seed_link_and_time_only() -> None:
    one, same, other = scene_of(SPRING), Scene(), scene_of(SPRING, seed=2)
    assert one.provider.figures(SPRING.id) == same.provider.figures(SPRING.id)
    assert one.provider.figures(SPRING.id) != other.provider.figures(SPRING.id)


def test_counts_do_not_depend_on_when_on_a_day_the_provider_was_started() -> None:
    early, late = scene_of(SPRING, "2024-05-15 09:00"), scene_of(SPRING, "2024-05-15 11:00")
    early.clock.forward(2 * 3600)
    assert early.provider.figures(SPRING.id) == late.provider.figures(SPRING.id)


def test_a_rate_is_clicks_per_hour_give_or_take_a_fifth() -> None:
    scene = scene_of(replace(SPRING, rate=1000.0))
    assert 0.8 * 168_000 <= gained(scene, 7 * 86_400) <= 1.2 * 168_000 + 1000


def test_every_click_counts_for_all_time_the_month_and_the_day() -> None:
    scene = Scene()
    before = scene.provider.figures(SPRING.id)
    scene.clock.forward(3600)
    after = scene.provider.figures(SPRING.id)
    rises = [new - old for new, old in zip(after, before, strict=True)]
    assert rises[0] > 400
    assert rises == [rises[0], rises[0], rises[0], 0, 0]


def test_at_midnight_today_becomes_yesterday() -> None:
    scene = Scene(moment="2024-05-15 20:59:59")
    before = scene.provider.figures(SPRING.id)
    scene.clock.at("2024-05-15 21:00:00")
    after = scene.provider.figures(SPRING.id)
    assert after.cnt_day == 0
    assert 0 <= after.cnt_yes - before.cnt_day <= 2
    assert after.cnt_mon >= before.cnt_mon


def test_at_the_months_end_the_month_becomes_the_previous_one() -> None:
    scene = Scene(moment="2024-05-31 20:59:59")
    before = scene.provider.figures(SPRING.id)
    scene.clock.at("2024-05-31 21:00:00")
    after = scene.provider.figures(SPRING.id)
    assert after.cnt_mon == after.cnt_day == 0
    assert 0 <= after.cnt_pmon - before.cnt_mon <= 2


@pytest.mark.parametrize("link", [*demo_links(), *numbered_links(1)], ids=lambda link: link.name)
def test_all_time_never_falls_by_itself(link: SimulatedLink) -> None:
    scene = scene_of(link, "2024-05-31 20:00:00")
    counts = []
    for _ in range(2000):
        counts.append(scene.provider.figures(link.id).cnt)
        scene.clock.forward(7)
    assert all(earlier <= later for earlier, later in pairwise(counts))
    assert counts[-1] > counts[0]


def test_a_clock_set_back_does_not_make_counts_fall() -> None:
    scene = Scene()
    scene.clock.forward(3600)
    before = scene.provider.figures(SPRING.id)
    scene.clock.forward(-1800)
    assert scene.provider.figures(SPRING.id) == before


def test_an_evening_link_is_busy_in_the_evening_and_a_weekday_link_on_weekdays() -> None:
    evening = scene_of(replace(SPRING, shape="evening"), "2024-05-15 01:00")  # 4 in Moscow
    assert gained(evening, 3600) * 5 < (gained(evening, 13 * 3600) and gained(evening, 3600))
    weekday = scene_of(replace(SPRING, shape="weekday"), "2024-05-16 21:00")  # Friday begins
    assert gained(weekday, 86_400) > 2 * gained(weekday, 86_400)


def test_a_single_spike_brings_its_clicks_once() -> None:
    scene = scene_of(replace(SPRING, rate=0.0, spike_clicks=500, spike_at=100.0))
    assert gained(scene, 100) == 0
    assert gained(scene, 30) == 250
    assert gained(scene, 30) == 250
    assert gained(scene, 86_400) == 0


def test_a_repeated_spike_comes_at_every_turn() -> None:
    scene = scene_of(replace(SPRING, rate=0.0, spike_clicks=500, spike_at=100.0, spike_every=600.0))
    assert gained(scene, 160) == 500
    assert gained(scene, 540) == 0
    assert gained(scene, 60) == 500


def test_a_dead_link_stays_as_it_is() -> None:
    scene = scene_of(replace(SPRING, rate=3600.0, dies_at=300.0))
    assert gained(scene, 300) > 200
    assert gained(scene, 86_400) == 0
    assert scene.provider.figures(SPRING.id).cnt_day == 0


def test_a_messages_clicks_come_at_once_and_fade() -> None:
    scene = scene_of(replace(SPRING, rate=0.0, message_clicks=10_000, message_at=3600.0))
    assert gained(scene, 3600) == 0
    hours = [gained(scene, 3600) for _ in range(24)]
    assert hours[0] > 2500
    assert all(later < earlier for earlier, later in pairwise(hours))
    later_on = gained(scene, 30 * 86_400)
    assert 9_990 <= sum(hours) + later_on <= 10_000


def test_a_message_sent_before_the_start_has_had_its_first_clicks() -> None:
    sent = replace(SPRING, rate=0.0, message_clicks=10_000, message_at=-3600.0)
    at_noon = scene_of(sent, "2024-05-15 09:00").provider.figures(SPRING.id)
    assert 2500 < at_noon.cnt == at_noon.cnt_day


def test_clicks_put_in_count_as_clicks_of_today() -> None:
    scene = Scene()
    before = scene.provider.figures(SPRING.id)
    scene.provider.add_clicks(SPRING.url, 7)
    assert scene.provider.figures(SPRING.id) == (
        before.cnt + 7,
        before.cnt_mon + 7,
        before.cnt_day + 7,
        before.cnt_yes,
        before.cnt_pmon,
    )


def test_clicks_put_in_move_on_with_the_days() -> None:
    scene = Scene(Settings(links=[replace(SPRING, rate=0.0)]), "2024-04-30 20:00")
    scene.provider.add_clicks(SPRING.id, 5)
    scene.clock.at("2024-04-30 21:00")
    scene.provider.add_clicks(SPRING.id, 2)
    assert scene.provider.figures(SPRING.id) == Figures(cnt=7, cnt_mon=2, cnt_day=2, cnt_yes=5, cnt_pmon=5)
    scene.clock.at("2024-05-02 21:00")
    assert scene.provider.figures(SPRING.id) == Figures(cnt=7, cnt_mon=2, cnt_day=0, cnt_yes=0, cnt_pmon=5)


def test_a_correction_takes_clicks_away_but_no_count_below_zero() -> None:
    scene = Scene()
    before = scene.provider.figures(SPRING.id)
    scene.provider.add_clicks(SPRING.id, -before.cnt_day - 10)
    after = scene.provider.figures(SPRING.id)
    assert after.cnt == before.cnt - before.cnt_day - 10
    assert after.cnt_day == 0


def test_a_correction_leaves_all_clicks_no_fewer_than_those_of_a_day() -> None:
    scene = Scene(Settings(links=[replace(SPRING, rate=0.0)]), "2024-04-29 20:00")
    scene.provider.add_clicks(SPRING.id, 5)
    scene.clock.at("2024-04-30 20:00")
    scene.provider.add_clicks(SPRING.id, -3)
    assert scene.provider.figures(SPRING.id) == Figures(cnt=5, cnt_mon=2, cnt_day=0, cnt_yes=5, cnt_pmon=0)


def test_an_unknown_link_gets_no_clicks_and_has_none() -> None:
    with pytest.raises(KeyError, match="no link 'nowhere'"):
        Scene().provider.add_clicks("nowhere", 1)
    with pytest.raises(KeyError, match="write an id or a full link"):
        Scene().provider.figures("nowhere")


def test_numbered_links_are_distinct_and_the_same_each_time() -> None:
    links = numbered_links(1000)
    assert links[0].id == "100001"
    assert links[0].url == "https://example.com/landing/1"
    assert len({link.id for link in links}) == len({link.url for link in links}) == 1000
    assert len({link.short for link in links}) == 1000
    assert all(link.short.startswith("smsc.tips/") for link in links)
    assert links == numbered_links(1000)
    assert {link.shape for link in links} == {"steady", "evening", "weekday"}
    assert any(link.spike_clicks for link in links)


def test_no_links_at_all_are_refused_with_advice() -> None:
    with pytest.raises(ValueError, match="0 links: write 1 or more"):
        numbered_links(0)


def test_the_demo_shows_all_there_is_to_see() -> None:
    links = demo_links()
    scene = Scene(Settings(links=links))
    moving = sum(gained(scene, 60, link.id) > 0 for link in links)
    assert moving >= 6
    assert len({link.name for link in links}) == len({link.id for link in links}) == len(links) == 15
    assert any(link.spike_every == 600 for link in links)
    assert any(link.dies_at == 300 for link in links)
    assert any(link.rate < 1 for link in links)
    urls = "".join(link.url for link in links)
    assert all(difficult in urls for difficult in "+ #%&скидки")


def test_the_demo_has_campaigns_that_fade_die_and_surge() -> None:
    scene = Scene(Settings(links=demo_links()))
    ids = {link.name.removeprefix("campaign-"): link.id for link in demo_links()}
    first = {name: scene.provider.figures(ids[name]).cnt for name in ("fades", "dies", "surges")}
    scene.clock.forward(3000)
    after = {name: scene.provider.figures(ids[name]).cnt - first[name] for name in first}
    assert after["dies"] == pytest.approx(after["fades"], rel=0.01)
    assert after["dies"] > 1000 > after["surges"]
    scene.clock.forward(600)
    last = {name: scene.provider.figures(ids[name]).cnt - first[name] - after[name] for name in first}
    assert last["dies"] == 0 < last["fades"] < 300
    assert last["surges"] < 100
    scene.clock.forward(9000)
    assert scene.provider.figures(ids["surges"]).cnt - first["surges"] > 1500


def test_a_lone_link_and_the_first_of_several_have_another_to_be_confused_with() -> None:
    alone = Scene(Settings(links=[SPRING], faults="wrong_link")).text(id=SPRING.id, fmt="1")
    assert alone.startswith("999999,")
    several = Scene(Settings(links=LINKS, faults="wrong_link"))
    assert not several.text(id=SPRING.id, fmt="1").startswith(SPRING.id)
    assert several.text(id=AUTUMN.id, fmt="1").startswith(SPRING.id)
