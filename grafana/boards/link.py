"""One link: its clicks against what was to be expected, its rhythm, and what the provider took back."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common

from grafana.boards.overview import MIDNIGHT
from grafana.boards.parts import (
    DATASOURCE,
    KEY,
    Property,
    account,
    board,
    by_link,
    chosen,
    color,
    custom,
    datasource,
    graph,
    hourly,
    job,
    latest,
    link,
    link_filter,
    listing,
    number,
    query,
    step,
    thresholds,
    timeline,
    words,
)

THIS = chosen("job", "account", "link", several=False)
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def link_board() -> dashboard.Dashboard:
    """The board."""
    return board(
        "smsc-link",
        "SMSC / Link",
        "One short link: clicks against what was to be expected, the same day in earlier weeks, the"
        " rhythm of the week, and what the provider took back.",
        since="now-2d",
        variables=[
            datasource(),
            job(several=False),
            account(several=False),
            *link_filter(several=False),
            link(several=False),
        ],
        panels=[
            _day().span(7).height(4),
            _month().span(5).height(4),
            _all_time().span(4).height(4),
            _age().span(3).height(4),
            _state().span(5).height(4),
            _which().span(16).height(3),
            _band().span(8).height(3),
            _expected().span(24).height(11),
            _states().span(24).height(5),
            _days().span(12).height(10),
            _since().span(12).height(10),
            _weeks().span(12).height(10),
            _corrections().span(12).height(10),
            _rhythm().span(24).height(10),
        ],
    ).annotation(_annotation())


def _clicks(period: str, offset: str = "") -> str:
    return by_link(f"smsc_link_clicks_{period}{{{THIS}}}{offset}")


def _annotation() -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name("Alerts of this link")
        .datasource(DATASOURCE)
        .enable(enable=True)
        .icon_color("red")
        .expr(f'ALERTS{{alertstate="firing", {THIS}}}')
        .title_format("{{alertname}}")
        .text_format("{{severity}}")
        .step("1m")
    )


# --- the first row ----------------------------------------------------------------------------------------


def _day() -> stat.Panel:
    return number(
        "Clicks today",
        f"And what there were yesterday at this hour, and in all. {MIDNIGHT}",
        "locale",
        latest(_clicks("today"), "today"),
        latest(_clicks("today", " offset 1d"), "yesterday by now", ref="B"),
        latest(_clicks("yesterday"), "yesterday", ref="C"),
    )


def _month() -> stat.Panel:
    return number(
        "Clicks this month",
        f"The month so far, and the whole month before. {MIDNIGHT}",
        "locale",
        latest(_clicks("month"), "this month so far"),
        latest(_clicks("previous_month"), "previous, whole", ref="B"),
    )


def _all_time() -> stat.Panel:
    return number("Clicks, all time", "As the provider counts them.", "locale", latest(_clicks("all_time")))


def _age() -> stat.Panel:
    read = by_link(f"smsc_link_last_success_timestamp_seconds{{{THIS}}}")
    return (
        number(
            "Last read",
            "How long ago the provider was last read for this link. When that is longer than the link's"
            " stale_after, its clicks are absent.",
            "s",
            latest(f"time() - {read}"),
        )
        .decimals(0)
        .thresholds(thresholds("green", (300, "orange"), (900, "red")))
    )


def _state() -> stat.Panel:
    failing = f"max by ({KEY}, outcome) (smsc_link_failing{{{THIS}}})"
    up = f'label_replace({by_link(f"smsc_link_up{{{THIS}}}")} == 1, "outcome", "ok", "", "")'
    return (
        number(
            "Latest poll",
            "How the latest poll of this link ended: ok, or the outcome as docs/metrics.md lists them.",
            "none",
            latest(f"{up} or on ({KEY}) {failing}", "{{outcome}}"),
        )
        .text_mode(common.BigValueTextMode.NAME)
        .thresholds(thresholds("red"))
        .override_by_name("ok", [color("green")])
    )


def _which() -> stat.Panel:
    known = f"max by ({KEY}, id, short_link) (smsc_link_info{{{THIS}}})"
    return number(
        "Id and short link",
        "As the provider knows the link.",
        "none",
        latest(known, "id {{id}}, {{short_link}}"),
    ).text_mode(common.BigValueTextMode.NAME)


def _band() -> stat.Panel:
    return number(
        "Expected clicks",
        "Whether there is enough history to say how many clicks are to be expected: a week of it. Prometheus'"
        " rules record the band below.",
        "none",
        latest(f"(count({_recorded('smsc:clicks:expected')}) or 0 * count({_known()})) > bool 0", "band"),
    ).mappings(words({"0": ("needs a week of history", "text"), "1": ("known", "green")}))


def _known() -> str:
    return by_link(f"smsc_link_info{{{THIS}}}")


# --- graphs -----------------------------------------------------------------------------------------------


def _recorded(series: str, offset: str = "") -> str:
    """A recorded series of the one-hour window, with or without the label that says so."""
    return by_link(f'{series}{{window=~"1h|", {THIS}}}{offset}')


def _expected() -> timeseries.Panel:
    band = [color("green"), custom("lineWidth", 0), custom("fillOpacity", 0)]
    line, dots = {"fill": "dash", "dash": [8, 6]}, {"fill": "dot", "dash": [0, 8]}
    return (
        graph(
            "Clicks in the last hour, and what was to be expected",
            "The band is what came at this time of the week in the last weeks: above the dashed line a"
            " spike is told, far below the band a flatline. A link with less than a week of history has"
            " no band: above its orange line a surge is told, and none at all while its dotted floor is"
            " above nine clicks is a death. Recorded by Prometheus' rules, every five minutes. A gap means"
            " that figures were not fresh enough to compare.",
            "locale",
            query(_recorded("smsc:clicks:delta"), "clicks"),
            query(_recorded("smsc:clicks:expected_lower"), "at least", ref="B"),
            query(_recorded("smsc:clicks:expected"), "expected", ref="C"),
            query(_recorded("smsc:clicks:spike_bound"), "alarm line", ref="D"),
            query(_recorded("smsc:young:surge_bound"), "alarm line, first week", ref="E"),
            query(_recorded("smsc:young:floor"), "floor, first week", ref="F"),
        )
        .decimals(0)
        .override_by_name("clicks", [color("blue"), custom("fillOpacity", 0)])
        .override_by_name(
            "at least", [*band, custom("hideFrom", {"legend": True, "tooltip": False, "viz": False})]
        )
        .override_by_name(
            "expected",
            [
                color("green"),
                custom("lineWidth", 1),
                custom("fillOpacity", 30),
                custom("fillBelowTo", "at least"),
            ],
        )
        .override_by_name(
            "alarm line",
            [color("red"), custom("lineWidth", 1), custom("fillOpacity", 0), custom("lineStyle", line)],
        )
        .override_by_name(
            "alarm line, first week",
            [color("orange"), custom("lineWidth", 1), custom("fillOpacity", 0), custom("lineStyle", line)],
        )
        .override_by_name(
            "floor, first week",
            [color("purple"), custom("lineWidth", 1), custom("fillOpacity", 0), custom("lineStyle", dots)],
        )
    )


def _states() -> statetimeline.Panel:
    polls = f"min by (job, account, link) (max by (job, account, link, instance) (smsc_link_up{{{THIS}}}))"
    alerts = f'2 * max by (job, alertname) (ALERTS{{alertstate="firing", {THIS}}})'
    return (
        timeline(
            "Polls and alerts",
            "Whether the link could be read, and which alerts fired on it. An alert has a line only"
            " where it fired in the time shown.",
            query(polls, "polls"),
            query(alerts, "{{alertname}}", ref="B"),
        )
        .mappings(words({"0": ("failing", "orange"), "1": ("ok", "green"), "2": ("fires", "red")}))
        .thresholds(thresholds("text"))
    )


def _weeks() -> timeseries.Panel:
    names = {1: "a week before", 2: "two weeks", 3: "three weeks", 4: "four weeks"}
    shades = ("purple", "semi-dark-purple", "light-purple", "super-light-purple")
    panel = graph(
        "The last day, and the same day in earlier weeks",
        "At each moment the hour that ends there. Earlier weeks need as long a history: Prometheus"
        " keeps 15 days unless told otherwise.",
        "locale",
        query(hourly(THIS), "now"),
        *(query(hourly(THIS, f"offset {n}w"), name, ref="ABCDE"[n]) for n, name in names.items()),
    )
    for name, shade in zip(names.values(), shades, strict=True):
        panel = panel.override_by_name(name, [color(shade), custom("lineWidth", 1), custom("fillOpacity", 0)])
    return panel.time_from("24h").override_by_name("now", [color("blue"), custom("lineWidth", 3)])


def _days() -> timeseries.Panel:
    """At 00:00 UTC of a day is what the provider said of it within half an hour after its end in UTC."""
    day = by_link(f"last_over_time(smsc_link_clicks_yesterday{{{THIS}}}[20m] offset -24h30m)")
    return (
        graph(
            "Clicks by day",
            "The last 30 days, as the provider counts them in the account's time zone. A day appears when it"
            " is over. Right for zones from UTC eastwards, such as Moscow's; in others it is the day before.",
            "locale",
            query(day, "clicks").interval("1d"),
        )
        .interval("1d")
        .time_from("30d")
        .draw_style(common.GraphDrawStyle.BARS)
        .fill_opacity(60)
        .override_by_name("clicks", [color("blue")])
    )


def _since() -> timeseries.Panel:
    count = f"smsc_link_clicks_all_time{{{THIS}}}"
    return (
        graph(
            "Clicks since first seen",
            "All clicks since Prometheus saw the link first, or of the last 30 days.",
            "locale",
            query(f"{by_link(count)} - {by_link(f'min_over_time({count}[30d] @ end())')}", "clicks"),
        )
        .time_from("30d")
        .override_by_name("clicks", [color("blue")])
    )


def _corrections() -> timeseries.Panel:
    taken_back = f"{by_link(f'smsc_link_clicks_total{{{THIS}}}')} - {_clicks('all_time')}"
    return (
        graph(
            "All-time clicks, and what was taken back",
            "The provider's own count. Where it corrects the count downwards, the bars on the right"
            " scale rise by as much: all corrections since the exporter began to count.",
            "locale",
            query(_clicks("all_time"), "all time"),
            query(taken_back, "taken back", ref="B"),
        )
        .override_by_name("all time", [color("blue"), Property(id_val="min")])
        .override_by_name(
            "taken back",
            [
                color("orange"),
                custom("axisPlacement", "right"),
                custom("axisSoftMax", 10),
                custom("fillOpacity", 30),
                custom("lineInterpolation", "stepAfter"),
                Property(id_val="decimals", value=0),
            ],
        )
    )


def _rhythm() -> table.Panel:
    """Hours across, weekdays down. Grafana's heatmap panel knows points in time only, hence a coloured table.

    The query's step is an hour, and each point counts to the hour that begins there, in the time zone of
    whoever looks. The time column is copied: one gives the weekday, the other the hour.
    """
    clicks = f"sum({hourly(THIS, 'offset -1h')})"
    hours = [f"{hour:02}" for hour in range(24)]
    panel = listing(
        "Clicks by hour and weekday",
        "The mean of the last four weeks, in the time zone this page is shown in. The stronger the colour,"
        " the more.",
        query(clicks, "clicks").interval("1h"),
    ).transformations(
        [
            step(
                "calculateField",
                mode="reduceRow",
                alias="hour",
                reduce={"reducer": "max", "include": ["Time"]},
            ),
            step("convertFieldType", conversions=[{"targetField": "hour", "destinationType": "time"}]),
            step("formatTime", timeField="hour", outputFormat="HH"),
            step("formatTime", timeField="Time", outputFormat="E"),
            step(
                "groupBy",
                fields={
                    "Time": {"operation": "groupby"},
                    "hour": {"operation": "groupby"},
                    "clicks": {"operation": "aggregate", "aggregations": ["mean"]},
                },
            ),
            step("sortBy", sort=[{"field": "Time"}]),
            step("groupingToMatrix", rowField="Time", columnField="hour", valueField="clicks (mean)"),
            step(
                "organize",
                indexByName={"Time\\hour": 0, **{hour: int(hour) + 1 for hour in hours}},
                renameByName={"Time\\hour": "Day"},
                excludeByName={},
            ),
        ]
    )
    days = words({str(n): (name, "text") for n, name in enumerate(WEEKDAYS, start=1)})
    return (
        panel.unit("locale")
        .decimals(0)
        .interval("1h")
        .max_data_points(800)
        .time_from("28d")
        .min(0)
        .override_by_field_type(
            "number",
            [
                custom("cellOptions", {"type": "color-background", "mode": "basic"}),
                Property(id_val="color", value={"mode": "continuous-blues"}),
                custom("align", "center"),
                custom("minWidth", 36),
            ],
        )
        .override_by_name("Day", [Property(id_val="mappings", value=days), custom("width", 60)])
    )
