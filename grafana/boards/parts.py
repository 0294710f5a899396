"""What the boards share: variables, queries, panels, and the ways from one board to another.

Colours are names of Grafana's palette, which has a shade of each for the light and the dark theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard, stat, statetimeline, table, text, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.text import TextMode

TAG = "smsc"
"""Boards with this tag are linked to each other."""

DATASOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")

KEY = "job, account, link"
"""What makes a link's series one: several exporters of the same link must not be added up."""

UNKNOWN = "–"
"""Shown where there is no figure: none is better than a wrong one."""

Property: TypeAlias = models.DynamicConfigValue
Panel: TypeAlias = stat.Panel | statetimeline.Panel | table.Panel | text.Panel | timeseries.Panel


# --- queries ----------------------------------------------------------------------------------------------


def by_link(expression: str) -> str:
    """One series per link, whichever exporter it comes from and whatever labels it has."""
    return f"max by ({KEY}) ({expression})"


def hourly(selector: str, offset: str = "") -> str:
    """Clicks of the hour that ends ``offset`` ago, by link.

    Nothing where the counter began anew: ``increase`` would take the whole of it for clicks of that hour.
    """
    counter = f"smsc_link_clicks_total{{{selector}}}[1h] {offset}".rstrip()
    return by_link(f"round(increase({counter})) unless resets({counter}) > 0")


def _asked(expression: str, legend: str, ref: str) -> Dataquery:
    """The legend ``__auto`` is Grafana's own way of naming a series by its labels."""
    asked = Dataquery().datasource(DATASOURCE).expr(expression)
    return asked.legend_format(legend or "__auto").ref_id(ref)


def query(expression: str, legend: str = "", *, ref: str = "A") -> Dataquery:
    """A query over the board's time range; ``legend`` may hold ``{{label}}``."""
    return _asked(expression, legend, ref).range()


def latest(expression: str, legend: str = "", *, ref: str = "A") -> Dataquery:
    """A query at the end of the time range."""
    return _asked(expression, legend, ref).instant()


def rows(expression: str, *, ref: str = "A") -> Dataquery:
    """The same, as rows of a table: labels become columns."""
    return latest(expression, ref=ref).format(PromQueryFormat.TABLE)


# --- panels -----------------------------------------------------------------------------------------------


def number(title: str, description: str, unit: str, *targets: Dataquery) -> stat.Panel:
    """A stat: the latest values in large digits."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(DATASOURCE)
        .no_value(UNKNOWN)
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .justify_mode(common.BigValueJustifyMode.AUTO)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(thresholds("text"))
    )
    for target in targets:
        panel = panel.with_target(target)
    return panel


def graph(title: str, description: str, unit: str, *targets: Dataquery) -> timeseries.Panel:
    """Lines over time, from zero, with their names below."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .unit(unit)
        .datasource(DATASOURCE)
        .min(0)
        .line_width(2)
        .fill_opacity(8)
        .show_points(common.VisibilityMode.NEVER)
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
        .legend(_legend())
    )
    for target in targets:
        panel = panel.with_target(target)
    return panel


def listing(title: str, description: str, *targets: Dataquery) -> table.Panel:
    """A table; whole numbers unless a column says otherwise."""
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .unit("locale")
        .datasource(DATASOURCE)
        .no_value(UNKNOWN)
        .cell_height(common.TableCellHeight.SM)
    )
    for target in targets:
        panel = panel.with_target(target)
    return panel


def timeline(title: str, description: str, *targets: Dataquery) -> statetimeline.Panel:
    """States over time, as coloured bars."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .unit("none")
        .datasource(DATASOURCE)
        .merge_values(merge_values=True)
        .show_value(common.VisibilityMode.AUTO)
        .row_height(0.8)
        .line_width(0)
        .legend(_legend())
    )
    for target in targets:
        panel = panel.with_target(target)
    return panel


def note(title: str, description: str, markdown: str) -> text.Panel:
    """A few sentences for whoever wonders."""
    return (
        text.Panel()
        .title(title)
        .description(description)
        .unit("none")
        .datasource(DATASOURCE)
        .mode(TextMode.MARKDOWN)
        .content(markdown)
    )


def _legend() -> common_builders.VizLegendOptions:
    return (
        common_builders.VizLegendOptions()
        .show_legend(show_legend=True)
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
    )


def thresholds(base: str, *steps: tuple[float, str]) -> dashboard.ThresholdsConfig:
    """Colours by value: ``base`` first, and each step's from its value on."""
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps(
            [
                models.Threshold(value=None, color=base),
                *(models.Threshold(value=value, color=color) for value, color in steps),
            ]
        )
    )


def words(meanings: dict[str, tuple[str, str]]) -> list[models.ValueMapping]:
    """Values to texts and colours: ``{"1": ("ok", "green")}``."""
    options = {
        value: models.ValueMappingResult(text=name, color=color, index=place)
        for place, (value, (name, color)) in enumerate(meanings.items())
    }
    return [models.ValueMap(options=options)]


# --- overrides and transformations ------------------------------------------------------------------------


def color(name: str) -> Property:
    """A fixed colour."""
    return Property(id_val="color", value={"mode": "fixed", "fixedColor": name})


def custom(name: str, value: object) -> Property:
    """An option of the panel's own kind, such as ``lineStyle``."""
    return Property(id_val=f"custom.{name}", value=value)


def colored_by(base: str, *steps: tuple[float, str], cell: str = "color-text") -> list[Property]:
    """A column coloured by its values."""
    built: Any = thresholds(base, *steps).build()
    return [
        Property(id_val="thresholds", value=built.to_json()),
        Property(id_val="color", value={"mode": "thresholds"}),
        custom("cellOptions", {"type": cell}),
    ]


def step(kind: str, **options: object) -> models.DataTransformerConfig:
    """A transformation, with its options as Grafana names them."""
    return models.DataTransformerConfig(id_val=kind, options=options)


def columns(names: dict[str, str]) -> list[models.DataTransformerConfig]:
    """Merges queries into one table of exactly these columns, in this order; ``{"Value #A": "Today"}``."""
    order = {name: place for place, name in enumerate(names)}
    return [
        step("merge"),
        step("filterFieldsByName", include={"names": list(names)}),
        step("organize", indexByName=order, renameByName=names, excludeByName={}),
    ]


def to_link_board(title: str, fields: dict[str, str]) -> Property:
    """A link from a table's row to the board of its link; ``fields`` says which column holds what."""
    variables = "".join(
        f'&var-{name}=${{__data.fields["{field}"]:percentencode}}' for name, field in fields.items()
    )
    url = f"/d/smsc-link?${{datasource:queryparam}}{variables}&${{__url_time_range}}"
    return Property(id_val="links", value=[{"title": title, "url": url}])


def runbook_of(title: str, name: str) -> Property:
    """Links to a runbook, which every exporter serves. ``name`` may be a reference to a field."""
    return Property(
        id_val="links", value=[{"title": title, "url": f"{_RUNBOOKS}{name}", "targetBlank": True}]
    )


def runbook(name: str, title: str) -> dashboard.DashboardLink:
    """A link to a runbook, for a panel."""
    link = dashboard.DashboardLink(title).type(models.DashboardLinkType.LINK)
    return link.url(f"{_RUNBOOKS}{name}").target_blank(target_blank=True)


_RUNBOOKS = "http://${exporter}/runbooks/"


# --- variables --------------------------------------------------------------------------------------------

_ALL = models.VariableOption(text="All", value="$__all")

_NOT_CUSTOM = "__name__|account|id|instance|job|pod|short_link"
"""Labels of smsc_link_info that no configuration gives. `link` stays: with it the filter filters nothing."""


def datasource() -> dashboard.DatasourceVariable:
    """Which Prometheus."""
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")


def choice(
    name: str, label: str, values: str, *, all_value: str = ".*", several: bool = True
) -> dashboard.QueryVariable:
    """A variable over what ``values`` finds; with ``several``, more than one and all of them."""
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": values, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .definition(values)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    )
    if several:
        variable = variable.multi(multi=True).include_all(include_all=True).all_value(all_value).current(_ALL)
    return variable


def chosen(*names: str, several: bool = True) -> str:
    """Matchers that leave what is chosen in the variables of these names.

    Grafana escapes values for regular expressions only where several may be chosen. A single one is compared
    as it is: a link without a name is called ``https://example.com/?q=a+b``.
    """
    operator = "=~" if several else "="
    return ", ".join(f'{name}{operator}"${name}"' for name in names)


def job(*, several: bool = True) -> dashboard.QueryVariable:
    """Which job of Prometheus."""
    found = "label_values(smsc_exporter_build_info, job)"
    return choice("job", "Job", found, all_value=".+", several=several)


def exporter() -> dashboard.QueryVariable:
    """Where the runbooks are: any exporter. It is hidden, but a board's settings can have another address."""
    found = choice(
        "exporter", "Runbooks on", "label_values(smsc_exporter_build_info, instance)", several=False
    )
    return found.hide(models.VariableHide.HIDE_VARIABLE)


def account(*, several: bool = True) -> dashboard.QueryVariable:
    """Which account."""
    found = f"label_values(smsc_account_links{{{chosen('job', several=several)}}}, account)"
    return choice("account", "Account", found, several=several)


def link_filter(*, several: bool = True) -> Sequence[dashboard.QueryVariable]:
    """Two variables for any label that the configuration gives links: its name and its value.

    All values are ``.*``, which links without the label have too; a value that is chosen they have not.
    ``several``: whether the board's jobs and accounts may be.
    """
    name = (
        choice("label", "Label", "label_names(smsc_link_info)", several=False)
        .regex(f"/^(?!({_NOT_CUSTOM})$).+/")
        .current(models.VariableOption(text="link", value="link"))
    )
    found = f"label_values(smsc_link_info{{{chosen('job', 'account', several=several)}}}, $label)"
    return name, choice("value", "is", found)


def link(*, several: bool = True) -> dashboard.QueryVariable:
    """Which link, of those that the label's filter leaves."""
    whose = chosen("job", "account", several=several)
    found = f'label_values(smsc_link_info{{{whose}, $label=~"$value"}}, link)'
    return choice("link", "Link", found, several=several)


# --- boards -----------------------------------------------------------------------------------------------


def board(
    uid: str,
    title: str,
    description: str,
    since: str,
    variables: Sequence[dashboard.DatasourceVariable | dashboard.QueryVariable],
    panels: Sequence[Panel],
) -> dashboard.Dashboard:
    """A board that links to the others; panels fill its rows from the left.

    The board of one link gets only the data source from boards of many: it has no *All*.
    """
    kept = "${datasource:queryparam}&${job:queryparam}&${account:queryparam}"
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .editable()
        .time(since, "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables([*variables, exporter()])
    )
    for other in ("overview", "link", "exporter"):
        if uid != f"smsc-{other}":
            passed = "${datasource:queryparam}" if other == "link" else kept
            built = built.link(
                dashboard.DashboardLink(other.title())
                .type(models.DashboardLinkType.LINK)
                .icon("dashboard")
                .url(f"/d/smsc-{other}?{passed}")
                .keep_time(keep_time=True)
            )
    for place, panel in enumerate(panels, start=1):
        built = built.with_panel(panel.id(place))
    return built
