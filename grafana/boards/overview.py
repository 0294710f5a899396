"""All links at a glance: how many clicks, against when, and where to look closer."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard, stat, table, text, timeseries
from grafana_foundation_sdk.builders.common import TableSortByFieldState

from grafana.boards.parts import (
    KEY,
    UNKNOWN,
    Property,
    account,
    board,
    by_link,
    color,
    colored_by,
    columns,
    custom,
    datasource,
    graph,
    hourly,
    job,
    latest,
    link,
    link_filter,
    listing,
    note,
    number,
    query,
    rows,
    runbook_of,
    thresholds,
    to_link_board,
    words,
)

CHOSEN = 'job=~"$job", account=~"$account", link=~"$link", $label=~"$value"'
OF_NO_LINK = 'alertname=~"Smsc.+", job=~"$job", account=~"$account|", link=""'
"""Alerts of the chosen accounts and jobs as a whole, which have no label that links are chosen by.

By name, for with *All* everybody's alerts are of a chosen job.
"""

OF_LINKS = f'link!="", {CHOSEN}'
"""Alerts of the chosen links, whatever their names: somebody may have written more."""

ANOMALIES = "SmscLinkClickSpike|SmscLinkClicksFlatline|SmscLinkTrafficShift|SmscLinkAllTimeClicksFell"

MIDNIGHT = (
    "Days and months begin at midnight in the account's time zone, as the provider counts them: Moscow's,"
    " unless the exporter's configuration names another. After that moment a link's figure is absent until"
    " the link has been read again: a matter of one refresh interval."
)


def overview() -> dashboard.Dashboard:
    """The board."""
    return board(
        "smsc-overview",
        "SMSC / Overview",
        "Clicks on all short links, as SMS Centre counts them: today, this month, by the hour and by link.",
        since="now-2d",
        variables=[datasource(), job(), account(), *link_filter(), link()],
        panels=[
            _today().span(5).height(4),
            _change().span(3).height(4),
            _month().span(7).height(4),
            _anomalies().span(3).height(4),
            _failing().span(3).height(4),
            _oldest().span(3).height(4),
            _curve().span(12).height(9),
            _in_all().span(12).height(9),
            _campaigns().span(12).height(10),
            _movers().span(12).height(10),
            _top().span(24).height(9),
            _links().span(24).height(16),
            _alerts().span(24).height(6),
            _about().span(24).height(7),
        ],
    )


def _clicks(period: str, offset: str = "") -> str:
    return by_link(f"smsc_link_clicks_{period}{{{CHOSEN}}}{offset}")


# --- the first row ----------------------------------------------------------------------------------------


def _today() -> stat.Panel:
    return number(
        "Clicks today",
        f"Of all chosen links, and what they had yesterday at this hour. {MIDNIGHT}",
        "locale",
        latest(f"sum({_clicks('today')})", "today"),
        latest(f"sum({_clicks('today', ' offset 1d')})", "yesterday by now", ref="B"),
    )


def _change() -> stat.Panel:
    before = f"sum({_clicks('today', ' offset 1d')} and {_clicks('today')})"
    now = f"sum({_clicks('today')} and {_clicks('today', ' offset 1d')})"
    return (
        number(
            "Change today",
            "The day so far against yesterday at this hour, over the links that have both figures.",
            "percentunit",
            latest(f"{now} / ({before} > 0) - 1"),
        )
        .decimals(1)
        .thresholds(thresholds("orange", (-0.25, "text")))
    )


def _month() -> stat.Panel:
    pace = by_link(f"increase(smsc_link_clicks_total{{{CHOSEN}}}[1w])")
    left = "(days_in_month() - day_of_month() + 1 - hour() / 24)"
    known = by_link(f"smsc_link_clicks_all_time{{{CHOSEN}}} offset 1w")
    return number(
        "Clicks this month",
        "The month so far, the whole month before, and a forecast: the month so far, and for the days that"
        " are left the pace of the last seven days. It needs a week of history. It counts days in UTC, so"
        f" that it means nothing in a month's first and last hours. {MIDNIGHT}",
        "locale",
        latest(f"sum({_clicks('month')})", "this month so far"),
        latest(f"sum({_clicks('previous_month')})", "previous, whole", ref="B"),
        latest(
            f"round(sum({_clicks('month')}) + on () sum({pace}) / 7 * on () {left}) and on () count({known})",
            "forecast",
            ref="C",
        ),
    )


def _anomalies() -> stat.Panel:
    firing = f'ALERTS{{alertname=~"{ANOMALIES}", alertstate="firing", {CHOSEN}}}'
    return number(
        "Anomalies",
        "Alerts that fire now on the clicks of the chosen links: spikes, flatlines, shifts,"
        " corrections. A dash where Prometheus has not loaded the rules.",
        "none",
        latest(f'count({firing}) or 0 * count(smsc:link:labels{{job=~"$job"}})'),
    ).thresholds(thresholds("green", (1, "red")))


def _failing() -> stat.Panel:
    up = by_link(f"smsc_link_up{{{CHOSEN}}}")
    return (
        number(
            "Links failing",
            "Links whose latest poll failed, of those chosen. Their last figures stay until they are"
            " too old.",
            "none",
            latest(f"count({up} == 0) or 0 * count({up})", "failing"),
            latest(f"count({by_link(f'smsc_link_info{{{CHOSEN}}}')})", "of", ref="B"),
        )
        .thresholds(thresholds("text"))
        .override_by_name("failing", colored_by("green", (1, "red"))[:2])
    )


def _oldest() -> stat.Panel:
    return (
        number(
            "Oldest figures",
            "How long ago the most neglected of the chosen links was read. Links never read have no age.",
            "s",
            latest(f"max(time() - {by_link(f'smsc_link_last_success_timestamp_seconds{{{CHOSEN}}}')})"),
        )
        .decimals(0)
        .thresholds(thresholds("green", (300, "orange"), (900, "red")))
    )


# --- campaigns ----------------------------------------------------------------------------------------------


def _of_value(clicks: str) -> str:
    """Clicks by the value of the label that is chosen: those of all links that have it."""
    by_value = f"max by ({KEY}, $label) ({clicks})"
    named = f'label_replace({by_value}, "group", "none", "", "")'
    return f'sum by (group) (label_replace({named}, "group", "${{1}}", "$label", "(.+)"))'


def _campaigns() -> table.Panel:
    return (
        listing(
            "Clicks by $label",
            "Choose a label above, such as campaign: the clicks of all links that have the same value of it."
            f" By default it is the link itself. {MIDNIGHT}",
            rows(_of_value(f"smsc_link_clicks_today{{{CHOSEN}}}")),
            rows(_of_value(f"smsc_link_clicks_yesterday{{{CHOSEN}}}"), ref="B"),
            rows(_of_value(f"smsc_link_clicks_month{{{CHOSEN}}}"), ref="C"),
        )
        .transformations(
            columns({"group": "Value", "Value #A": "Today", "Value #B": "Yesterday", "Value #C": "Month"})
        )
        .override_by_name("Value", [custom("minWidth", 140)])
        .override_by_name("Today", [custom("cellOptions", {"type": "gauge", "mode": "basic"}), *_bars()])
        .sort_by([TableSortByFieldState().display_name("Today").desc(desc=True)])
    )


def _bars() -> list[Property]:
    own = Property(id_val="fieldMinMax", value=True)  # else the longest bar is that of all columns
    return [color("blue"), Property(id_val="min", value=0), own, custom("minWidth", 200)]


def _day(offset: str = "") -> str:
    """Clicks of a day that ends ``offset`` ago, by link. See ``hourly``."""
    counter = f"smsc_link_clicks_total{{{CHOSEN}}}[1d] {offset}".rstrip()
    return by_link(f"round(increase({counter})) unless resets({counter}) > 0")


def _movers() -> table.Panel:
    moved = f"{_day()} - {_day('offset 1d')}"
    top = f"and on ({KEY}) topk by () (10, abs({moved}))"
    return (
        listing(
            "Top movers",
            "The ten links whose clicks of the last 24 hours differ most from those of the 24 hours before."
            " It needs two days of history.",
            rows(f"{moved} {top}"),
            rows(f"{_day()} {top}", ref="B"),
            rows(f"{_day('offset 1d')} {top}", ref="C"),
        )
        .transformations(
            columns(
                {
                    "link": "Link",
                    "account": "Account",
                    "job": "Job",
                    "Value #A": "Difference",
                    "Value #B": "Last 24 hours",
                    "Value #C": "Before",
                }
            )
        )
        .min_width(70)
        .override_by_name("Link", [_board_of_link(), custom("minWidth", 140)])
        .sort_by([TableSortByFieldState().display_name("Difference").desc(desc=True)])
    )


# --- graphs -----------------------------------------------------------------------------------------------


def _curve() -> timeseries.Panel:
    return (
        graph(
            "Clicks of the day so far",
            "All chosen links together, as the day goes on, with yesterday and the same day last week."
            f" {MIDNIGHT}",
            "locale",
            query(f"sum({_clicks('today')})", "today"),
            query(f"sum({_clicks('today', ' offset 1d')})", "yesterday", ref="B"),
            query(f"sum({_clicks('today', ' offset 1w')})", "a week before", ref="C"),
        )
        .time_from("24h")
        .override_by_name("today", [color("blue"), custom("lineWidth", 3)])
        .override_by_name("yesterday", [color("orange"), *_faint()])
        .override_by_name("a week before", [color("purple"), *_faint()])
    )


def _in_all() -> timeseries.Panel:
    return (
        graph(
            "Clicks in the last hour, all links",
            "All chosen links together: at each moment the hour that ends there, with the same hour a"
            " day and a week before.",
            "locale",
            query(f"sum({hourly(CHOSEN)})", "clicks"),
            query(f"sum({hourly(CHOSEN, 'offset 1d')})", "a day before", ref="B"),
            query(f"sum({hourly(CHOSEN, 'offset 1w')})", "a week before", ref="C"),
        )
        .override_by_name("clicks", [color("blue"), custom("fillOpacity", 15)])
        .override_by_name("a day before", [color("orange"), *_faint()])
        .override_by_name("a week before", [color("purple"), *_faint()])
    )


def _faint() -> list[Property]:
    return [custom("lineWidth", 1), custom("fillOpacity", 0)]


def _top() -> timeseries.Panel:
    busiest = f"topk by () (10, {by_link(f'increase(smsc_link_clicks_total{{{CHOSEN}}}[$__range] @ end())')})"
    return graph(
        "Clicks in the last hour, the ten busiest links",
        "The ten with the most clicks in the time shown: at each moment the hour that ends there.",
        "locale",
        query(f"{hourly(CHOSEN)} and on ({KEY}) {busiest}", "{{link}}, {{account}} ({{job}})"),
    ).fill_opacity(0)


# --- tables -----------------------------------------------------------------------------------------------


def _links() -> table.Panel:
    change = f"{_clicks('today')} / ({_clicks('today', ' offset 1d')} > 0) - 1"
    age = f"time() - {by_link(f'smsc_link_last_success_timestamp_seconds{{{CHOSEN}}}')}"
    panel = listing(
        "Links",
        f"A click on a link opens its board. Change: today against yesterday at this hour. {MIDNIGHT}",
        rows(_clicks("today")),
        rows(_clicks("yesterday"), ref="B"),
        rows(change, ref="C"),
        rows(_clicks("month"), ref="D"),
        rows(_clicks("previous_month"), ref="E"),
        rows(_clicks("all_time"), ref="F"),
        rows(age, ref="G"),
        rows(_state(), ref="H"),
    ).transformations(
        columns(
            {
                "link": "Link",
                "account": "Account",
                "job": "Job",
                "Value #A": "Today",
                "Value #B": "Yesterday",
                "Value #C": "Change",
                "Value #D": "Month",
                "Value #E": "Previous month",
                "Value #F": "All time",
                "Value #G": "Age",
                "outcome": "State",
            }
        )
    )
    # Eleven columns on a screen of common width, the last not cut off.
    return _dressed(panel.min_width(90)).sort_by(
        [TableSortByFieldState().display_name("Today").desc(desc=True)]
    )


def _state() -> str:
    """The outcome of the latest poll, as the label ``outcome``: one row of each link.

    Where every exporter fails, and each in its own way, one way is shown.
    """
    return f"""label_replace({by_link(f"smsc_link_up{{{CHOSEN}}}")} == 1, "outcome", "ok", "", "")
or on ({KEY}) topk by ({KEY}) (1, max by ({KEY}, outcome) (smsc_link_failing{{{CHOSEN}}}))
or on ({KEY}) label_replace({by_link(f"smsc_link_info{{{CHOSEN}}}")}, "outcome", "not read yet", "", "")"""


def _board_of_link() -> Property:
    """A way to the board of a row's link."""
    return to_link_board("Show this link", {"job": "Job", "account": "Account", "link": "Link"})


def _dressed(panel: table.Panel) -> table.Panel:
    states = {"ok": ("ok", "green"), "not read yet": ("not read yet", "text")}
    return (
        panel.override_by_name(
            "Link",
            [
                _board_of_link(),
                custom("minWidth", 180),
            ],
        )
        .override_by_name("Previous month", [custom("minWidth", 140)])
        .override_by_name(
            "Change",
            [
                Property(id_val="unit", value="percentunit"),
                Property(id_val="decimals", value=0),
                *colored_by("text", (-1, "orange"), (-0.25, "text")),
            ],
        )
        .override_by_name(
            "Age",
            [
                Property(id_val="unit", value="s"),
                Property(id_val="decimals", value=0),
                *colored_by("text", (300, "orange"), (900, "red")),
            ],
        )
        .override_by_name(
            "State",
            [
                Property(id_val="mappings", value=words(states)),
                custom("minWidth", 110),
                *colored_by("red"),
            ],
        )
    )


def _alerts() -> table.Panel:
    who = "alertname, severity, job, account, link"
    since, firing = (
        f"max by ({who}) ({series}{{{OF_NO_LINK}{state}}} or {series}{{{OF_LINKS}{state}}})"
        for series, state in (("ALERTS_FOR_STATE", ""), ("ALERTS", ', alertstate="firing"'))
    )
    return (
        listing(
            "Alerts that fire",
            "Of the chosen links, their accounts and exporters. Empty when all is well, or when"
            " Prometheus has not loaded the rules.",
            rows(f"1000 * {since} and {firing}"),
        )
        .transformations(
            columns(
                {
                    "alertname": "Alert",
                    "severity": "Severity",
                    "account": "Account",
                    "link": "Link",
                    "job": "Job",
                    "Value": "Since",
                }
            )
        )
        .no_value("No alert fires")
        # What is said of an empty table would be said in an empty cell too: an account's alert has no link.
        .override_by_regexp("Account|Link", [Property(id_val="noValue", value=UNKNOWN)])
        .override_by_name(
            "Alert", [runbook_of("Read the runbook", '${__data.fields["Alert"]:percentencode}')]
        )
        .override_by_name("Since", [Property(id_val="unit", value="dateTimeFromNow")])
        .override_by_name("Link", [_board_of_link()])
        .override_by_name(
            "Severity",
            [
                Property(
                    id_val="mappings",
                    value=words({"critical": ("critical", "red"), "warning": ("warning", "orange")}),
                ),
                *colored_by("text"),
            ],
        )
    )


def _about() -> text.Panel:
    return note(
        "About these figures",
        "When a day begins, why a figure may be missing, and how several exporters are counted.",
        """
- **When a day begins.** The provider counts days and months in the account's time zone: Moscow's, or what
  `timezone` says in the exporter's configuration, whatever time zone this page is shown in. After midnight
  there, *today* and *yesterday* are absent until each link has been read again; after the month's end *month*
  and *previous month* too. Sums are low for that minute.
- **A dash** is a figure that nobody knows: not read yet, or too old to be shown. It is not zero.
- **Several exporters** of the same links, in one job of Prometheus, are not added up: of each link the
  highest figure is shown. Several jobs are added up where *Job* leaves more than one.
- **All time** is the provider's own count, which it may correct downwards. Clicks per hour come from
  `smsc_link_clicks_total`, which only rises.
""".strip(),
    )
