"""The metric families of links, and how a line of theirs is written: as prometheus_client would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.model import Link

FIGURES = ("all_time", "today", "yesterday", "month", "previous_month", "total")
"""The click families by their short names, in the order of ``FAMILIES``."""

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


def _clicks(period: str, field: str, until: str) -> Family:
    help_text = f"Clicks {period}, as last read and cached ({field} of the provider). Absent {until}."
    return Family(f"smsc_link_clicks_{period.replace(' ', '_')}", help_text)


FAMILIES = (
    _clicks("all time", "cnt", "when stale"),
    _clicks("today", "cnt_day", "when stale or from before midnight of the account's time zone"),
    _clicks("yesterday", "cnt_yes", "when stale or from before midnight of the account's time zone"),
    _clicks("month", "cnt_mon", "when stale or from before the month's end in the account's time zone"),
    _clicks(
        "previous month", "cnt_pmon", "when stale or from before the month's end in the account's time zone"
    ),
    Family(
        "smsc_link_clicks_total",
        "Rises of the all-time clicks added up, as last read and cached (cnt of the provider)."
        " For rate() and increase().",
        "counter",
    ),
    Family("smsc_link_up", "1 if the latest poll of this link succeeded, 0 if it failed; absent before it."),
    Family("smsc_link_failing", "1 while the latest poll of this link failed, with its outcome."),
    Family(
        "smsc_link_last_success_timestamp_seconds",
        "When the reading behind this link's cached click series was taken.",
    ),
    Family(
        "smsc_link_info",
        "The link's id and short link, as last read and cached (id and link of the provider).",
    ),
)
ALL_TIME, TODAY, YESTERDAY, MONTH, PREVIOUS, TOTAL, UP, FAILING, LAST_SUCCESS, INFO = range(len(FAMILIES))
_NAMES = tuple(family.name for family in FAMILIES)


def labels_with(link: Link, *extra: tuple[str, str | None]) -> str:
    """A link's labels and others, as they stand in a line: sorted by name, as prometheus_client does.

    Those that are None are left out.
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
    """One sample. Most values are small whole numbers, which prometheus_client writes like this, too."""
    text = f"{value}.0" if type(value) is int and value < 1_000_000 else _number(value)
    return f"{_NAMES[family]}{labels} {text}\n".encode()
