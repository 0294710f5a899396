"""The metric families of links, and their lines, written as prometheus_client would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.model import Link

FIGURES = ("all_time", "today", "yesterday", "month", "previous_month", "total")
"""The click families by their short names: the first of ``FAMILIES``, in their order."""

_number: Callable[[float], str] = floatToGoString  # prometheus_client leaves it untyped


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family: its sample's name, type and help. Counters' samples end in ``_total``."""

    name: str
    help: str
    type: str = "gauge"

    def header(self, *, openmetrics: bool) -> bytes:
        """The HELP and TYPE lines. OpenMetrics names a counter's family without its suffix."""
        name = self.name.removesuffix("_total") if openmetrics else self.name
        return f"# HELP {name} {self.help}\n# TYPE {name} {self.type}\n".encode()


def _clicks(period: str, field: str, until: str = "") -> Family:
    words = f"Clicks {period} ({field}), cached. Absent when stale{until}."
    return Family(f"smsc_link_clicks_{_NAMES_OF_PERIODS[period]}", words)


_NAMES_OF_PERIODS = {
    "of all time": "all_time",
    "so far today": "today",
    "yesterday": "yesterday",
    "so far this month": "month",
    "in the previous month": "previous_month",
}
_AFTER_MIDNIGHT = ", and after midnight until re-read"
_AFTER_MONTH = ", and after month end until re-read"

FAMILIES = (
    _clicks("of all time", "cnt"),
    _clicks("so far today", "cnt_day", _AFTER_MIDNIGHT),
    _clicks("yesterday", "cnt_yes", _AFTER_MIDNIGHT),
    _clicks("so far this month", "cnt_mon", _AFTER_MONTH),
    _clicks("in the previous month", "cnt_pmon", _AFTER_MONTH),
    Family(
        "smsc_link_clicks_total",
        "Clicks counted since the first reading (rises of cnt), cached. For rate() and increase()."
        " Absent when stale.",
        "counter",
    ),
    Family(
        "smsc_link_up", "1 if the latest poll of the link succeeded, 0 if it failed. Absent until polled."
    ),
    Family("smsc_link_failing", "1 while the latest poll of the link failed; outcome says how."),
    Family(
        "smsc_link_last_success_timestamp_seconds",
        "When the cached click figures of the link were read.",
    ),
    Family("smsc_link_info", "The link's id and short link, cached (id and link)."),
)
ALL_TIME, TODAY, YESTERDAY, MONTH, PREVIOUS, TOTAL, UP, FAILING, LAST_SUCCESS, INFO = range(len(FAMILIES))
_NAMES = tuple(family.name for family in FAMILIES)


def labels_with(link: Link, *extra: tuple[str, str | None]) -> str:
    """The labels of a line: the link's and others, sorted by name, as prometheus_client does.

    Labels that are None are left out.
    """
    labels = [("account", link.account), ("link", link.name), *link.labels, *extra]
    return (
        "{"
        + ",".join([f'{name}="{_escape(text)}"' for name, text in sorted(labels) if text is not None])
        + "}"
    )


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def line_of(family: int, labels: str, value: float) -> bytes:
    """One sample. Small whole numbers take a shorter way to the text that prometheus_client writes."""
    text = f"{value}.0" if type(value) is int and value < 1_000_000 else _number(value)
    return f"{_NAMES[family]}{labels} {text}\n".encode()
