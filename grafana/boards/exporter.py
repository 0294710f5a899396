"""The exporter itself: what it asks the provider, how that answers, and how late it is."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import GraphThresholdsStyleConfig, StackingConfig
from grafana_foundation_sdk.models import common

from grafana.boards.parts import (
    DATASOURCE,
    Property,
    account,
    board,
    by_link,
    choice,
    color,
    colored_by,
    columns,
    custom,
    datasource,
    graph,
    job,
    latest,
    link_filter,
    listing,
    number,
    query,
    rows,
    runbook,
    thresholds,
    timeline,
    words,
)

PROCESS = 'job=~"$job", instance=~"$instance"'
ACCOUNTS = f'{PROCESS}, account=~"$account"'
LINKS = f'{ACCOUNTS}, $label=~"$value"'

OF_JOB = "({{job}})"
WHO = f"{{{{account}}}} {OF_JOB}"
"""Two jobs may have accounts of one name."""

OUTCOMES = {
    "ok": "green",
    "throttled": "orange",
    "timeout": "yellow",
    "unreachable": "red",
    "http_error": "semi-dark-red",
    "malformed": "purple",
    "unauthorized": "dark-red",
    "blocked": "super-light-red",
    "not_found": "blue",
    "parameters": "light-blue",
    "unknown_error": "super-light-purple",
}
"""Each outcome keeps its colour in every graph."""

STATES = {
    "0": ("polling", "green"),
    "1": ("throttled", "orange"),
    "2": ("waiting", "blue"),
    "3": ("unreachable", "purple"),
    "4": ("unauthorized", "red"),
    "5": ("blocked", "dark-red"),
}
"""States of an account, the worse the higher: of several exporters the worst shows."""


RUNBOOKS = {
    "throttled": "SmscAccountThrottled",
    "waiting": "SmscStorageDown",
    "unreachable": "SmscAccountUnreachable",
    "unauthorized": "SmscAccountUnauthorized",
    "blocked": "SmscAccountBlocked",
}
"""Of each state that is not *polling*."""


def exporter_board() -> dashboard.Dashboard:
    """The board."""
    found = 'label_values(smsc_exporter_build_info{job=~"$job"}, instance)'
    instance = choice("instance", "Instance", found, all_value=".+")
    return board(
        "smsc-exporter",
        "SMSC / Exporter",
        "The exporter itself: requests to the provider by outcome, age of the figures, lag, limits and"
        " pauses.",
        since="now-6h",
        variables=[datasource(), job(), instance, account(), *link_filter()],
        panels=[
            _down().span(4).height(4),
            _accounts().span(4).height(4),
            _links().span(5).height(4),
            _storage().span(3).height(4),
            _config().span(4).height(4),
            _memory().span(4).height(4),
            _requests().span(12).height(8),
            _failures().span(12).height(8),
            _states().span(24).height(5),
            _age().span(12).height(8),
            _lag().span(12).height(8),
            _capacity().span(12).height(8),
            _concurrency().span(12).height(8),
            _pauses().span(24).height(5),
            _request_time().span(12).height(8),
            _scrape_time().span(12).height(8),
            _builds().span(24).height(5),
        ],
    ).annotations([_restarts(), _reloads()])


def _mark(name: str, shade: str, happened: str) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(DATASOURCE)
        .enable(enable=True)
        .icon_color(shade)
        .expr(happened)
        .title_format(name)
        .text_format("{{instance}} ({{job}})")
        .step("1m")
    )


def _restarts() -> dashboard.AnnotationQuery:
    started = f"changes(process_start_time_seconds{{{PROCESS}}}[2m]) > 0"
    return _mark("Restarts", "orange", _of_exporters(started))


def _reloads() -> dashboard.AnnotationQuery:
    loaded = f"smsc_exporter_config_last_reload_success_timestamp_seconds{{{PROCESS}}}"
    return _mark("Reloads", "blue", f"changes({loaded}[2m]) > 0")


# --- the first row ----------------------------------------------------------------------------------------


def _of_exporters(expression: str) -> str:
    """Without what else Prometheus scrapes: it has the same series of each target, and *All* means any job.

    An exporter that is down has no series of its own, but had some before.
    """
    seen = f"last_over_time(smsc_exporter_build_info{{{PROCESS}}}[1w])"
    return f"{expression} and on (job, instance) {seen}"


def _bad(title: str, description: str, known: str, bad: str, every: str) -> stat.Panel:
    """How many of what is known are bad, in the title's last word, and how many there are.

    The bad are counted, not the good: one of two that is down must not look well.
    """
    word = title.split()[-1]
    return number(
        title,
        description,
        "none",
        latest(f"count({known} {bad}) or 0 * count({known})", word),
        latest(f"count({every})", "of", ref="B"),
    ).override_by_name(word, colored_by("green", (1, "red"))[:2])


def _down() -> stat.Panel:
    up = _of_exporters(f"up{{{PROCESS}}}")
    return _bad(
        "Exporters down",
        "Exporters that Prometheus could not scrape last, of those that it could within a week.",
        f"({up})",
        "== 0",
        up,
    )


def _accounts() -> stat.Panel:
    return _bad(
        "Accounts hindered",
        "Accounts that are throttled, blocked, unauthorized or unreachable, if only for one of several"
        " exporters.",
        f'max by (job, account) (smsc_account_state{{state!="polling", {ACCOUNTS}}})',
        "== 1",
        f"max by (job, account) (smsc_account_links{{{ACCOUNTS}}})",
    )


def _links() -> stat.Panel:
    return _bad(
        "Links failing",
        "Links whose latest poll failed, and how many are chosen.",
        by_link(f"smsc_link_up{{{LINKS}}}"),
        "== 0",
        by_link(f"smsc_link_info{{{LINKS}}}"),
    )


def _storage() -> stat.Panel:
    return (
        number(
            "Storage",
            "Whether state can be written. Without it figures are served from memory, and a restart"
            " forgets them and waits before anything is sent.",
            "none",
            latest(f"min(smsc_exporter_storage_up{{{PROCESS}}})"),
        )
        .mappings(words({"1": ("works", "green"), "0": ("down", "red")}))
        .color_mode(common.BigValueColorMode.VALUE)
    )


def _config() -> stat.Panel:
    loaded = f"smsc_exporter_config_last_reload_successful{{{PROCESS}}}"
    links = f"smsc_exporter_link_file_last_load_successful{{{PROCESS}}}"
    return number(
        "Configuration",
        "Whether the configuration and every link file were accepted when they were last read. What is"
        " refused leaves in force what it had before.",
        "none",
        latest(f"min({loaded} or {links})"),
    ).mappings(words({"1": ("loaded", "green"), "0": ("refused", "red")}))


def _memory() -> stat.Panel:
    return number(
        "Memory",
        "Resident memory of the largest exporter.",
        "bytes",
        latest(f"max({_of_exporters(f'process_resident_memory_bytes{{{PROCESS}}}')})"),
    )


# --- requests ---------------------------------------------------------------------------------------------


def _by_outcome(panel: timeseries.Panel) -> timeseries.Panel:
    """Gives each outcome its colour, whichever job is named behind it."""
    for outcome, shade in OUTCOMES.items():
        panel = panel.override_by_regexp(rf"{outcome}( \(.+\))?", [color(shade)])
    return panel


def _requests() -> timeseries.Panel:
    rate = f"sum by (outcome) (rate(smsc_api_requests_total{{{ACCOUNTS}}}[$__rate_interval]))"
    panel = graph(
        "Requests to the provider",
        "By outcome, of all exporters together: each sends its own. docs/metrics.md says what they mean.",
        "reqps",
        query(f"{rate} > 0", "{{outcome}}"),
    )
    return (
        _by_outcome(panel)
        .fill_opacity(40)
        .line_width(1)
        .stacking(StackingConfig().mode(common.StackingMode.NORMAL))
    )


def _failures() -> timeseries.Panel:
    """Of each job's own requests: where all of one fail, a busier one must not make little of it."""
    failed = f'smsc_api_requests_total{{outcome!="ok", {ACCOUNTS}}}'
    share = f"sum by (job, outcome) (rate({failed}[$__rate_interval]))"
    total = f"sum by (job) (rate(smsc_api_requests_total{{{ACCOUNTS}}}[$__rate_interval]))"
    panel = graph(
        "Requests that failed",
        "As a share of all requests of the job, by outcome. Empty while none fails.",
        "percentunit",
        query(f"{share} / on (job) group_left {total} > 0", f"{{{{outcome}}}} {OF_JOB}"),
    )
    return _by_outcome(panel).no_value("No request failed")


def _request_time() -> timeseries.Panel:
    """By job: one that talks to another provider, as a test's, would blur what the provider takes."""
    counted = f"rate(smsc_api_request_duration_seconds_bucket{{{ACCOUNTS}}}[$__rate_interval])"
    buckets = f"sum by (job, le) ({counted})"
    return graph(
        "Request time",
        "How long the provider takes to answer, failed requests included: half of the requests are"
        " quicker than the median, one in a hundred is slower than the 99 % line.",
        "s",
        query(f"histogram_quantile(0.5, {buckets})", f"median {OF_JOB}"),
        query(f"histogram_quantile(0.9, {buckets})", f"90 % {OF_JOB}", ref="B"),
        query(f"histogram_quantile(0.99, {buckets})", f"99 % {OF_JOB}", ref="C"),
    ).fill_opacity(0)


# --- accounts over time -----------------------------------------------------------------------------------


def _states() -> statetimeline.Panel:
    states = " or ".join(
        f'{value} * smsc_account_state{{state="{name}", {ACCOUNTS}}}' for value, (name, _) in STATES.items()
    )
    return (
        timeline(
            "What each account is doing",
            "Of several exporters the worst state shows: throttled by error 9, unreachable,"
            " unauthorized by error 2, blocked by error 4.",
            query(f"max by (job, account) ({states})", WHO),
        )
        .mappings(words(STATES))
        .thresholds(thresholds("text"))
        .links([runbook(name, f"Runbook: {state}") for state, name in RUNBOOKS.items()])
    )


def _age() -> timeseries.Panel:
    age = f"time() - {by_link(f'smsc_link_last_success_timestamp_seconds{{{LINKS}}}')}"
    panel = graph(
        "Age of the figures",
        "How long ago links were read, by account: the most neglected link, and the median. A link's clicks"
        " are withheld when its figures are older than its stale_after: 15 minutes, unless told otherwise.",
        "s",
        query(f"max by (job, account) ({age})", f"{WHO}, oldest"),
        query(f"quantile by (job, account) (0.5, {age})", f"{WHO}, median", ref="B"),
    ).fill_opacity(0)
    return _lined(panel, 900)


def _lag() -> timeseries.Panel:
    panel = graph(
        "Polling lag",
        "How late the most overdue link of each account is. Steadily above zero: more links than can be"
        " read in their interval, or a provider that is slow.",
        "s",
        query(f"max by (job, account) (smsc_account_polling_lag_seconds{{{ACCOUNTS}}})", WHO),
    ).axis_soft_max(60)
    return _lined(panel, 300)


def _lined(panel: timeseries.Panel, bad: float) -> timeseries.Panel:
    """Draws a red line at the value from which an alert may fire."""
    style = GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(thresholds("transparent", (bad, "red"))).thresholds_style(style)


def _capacity() -> timeseries.Panel:
    wanted, possible = (
        f"max by (job, account) (smsc_account_requests_{kind}_per_second{{{ACCOUNTS}}})"
        for kind in ("wanted", "possible")
    )
    panel = graph(
        "Capacity used",
        "Requests that the refresh intervals ask for, of those that are possible: as many as fit at once, and"
        " three a minute for each link. Above 100 %, readings come late.",
        "percentunit",
        query(f"{wanted} / {possible}", WHO),
    )
    return _lined(panel.fill_opacity(0), 1)


def _concurrency() -> timeseries.Panel:
    return (
        graph(
            "Requests at once",
            "Requests in flight, and how many are allowed now: one at first, then one more for each"
            " round of successes, half after an error 9. By account and exporter.",
            "none",
            query(f"smsc_account_concurrency_limit{{{ACCOUNTS}}}", f"{WHO} allowed, {{{{instance}}}}"),
            query(
                f"smsc_api_requests_in_flight{{{ACCOUNTS}}}", f"{WHO} in flight, {{{{instance}}}}", ref="B"
            ),
        )
        .decimals(0)
        .fill_opacity(0)
        .line_interpolation(common.LineInterpolation.STEP_AFTER)
    )


def _pauses() -> statetimeline.Panel:
    until = f"max by (job, account) (smsc_account_paused_until_timestamp_seconds{{{ACCOUNTS}}})"
    return (
        timeline(
            "Pauses",
            "When each account sent nothing at all: after error 2 or 4, Retry-After, or with no concurrency"
            " left to give up.",
            query(f"{until} > bool time()", WHO),
        )
        .mappings(words({"0": ("sends", "green"), "1": ("pauses", "orange")}))
        .thresholds(thresholds("text"))
    )


# --- Prometheus' side -------------------------------------------------------------------------------------


def _scrape_time() -> timeseries.Panel:
    return graph(
        "Scrape time",
        "How long Prometheus takes to scrape each exporter.",
        "s",
        query(_of_exporters(f"scrape_duration_seconds{{{PROCESS}}}"), f"{{{{instance}}}} {OF_JOB}"),
    ).fill_opacity(0)


def _builds() -> table.Panel:
    started = f"process_start_time_seconds{{{PROCESS}}}"
    loaded = f"smsc_exporter_config_last_reload_success_timestamp_seconds{{{PROCESS}}}"

    def by_instance(series: str) -> str:
        return f"max by (job, instance) ({_of_exporters(series)})"

    return (
        listing(
            "Exporters",
            "Version of each exporter and of its Python, since when it runs, when its configuration was"
            " last loaded, its processor time and the samples of a scrape.",
            rows(f"max by (job, instance, version, python_version) (smsc_exporter_build_info{{{PROCESS}}})"),
            rows(f"1000 * {by_instance(started)}", ref="B"),
            rows(f"1000 * {by_instance(loaded)}", ref="C"),
            rows(by_instance(f"rate(process_cpu_seconds_total{{{PROCESS}}}[$__rate_interval])"), ref="D"),
            rows(by_instance(f"scrape_samples_scraped{{{PROCESS}}}"), ref="E"),
        )
        .transformations(
            columns(
                {
                    "instance": "Exporter",
                    "job": "Job",
                    "version": "Version",
                    "python_version": "Python",
                    "Value #B": "Started",
                    "Value #C": "Configuration loaded",
                    "Value #D": "Processor",
                    "Value #E": "Samples",
                }
            )
        )
        .override_by_regexp(
            "Started|Configuration loaded", [Property(id_val="unit", value="dateTimeFromNow")]
        )
        .override_by_name(
            "Processor",
            [Property(id_val="unit", value="percentunit"), Property(id_val="decimals", value=1)],
        )
        .override_by_name("Configuration loaded", [custom("minWidth", 180)])
        .override_by_name("Samples", [custom("width", 120)])
    )
