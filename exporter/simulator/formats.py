"""The provider's four answer formats, written by hand as the provider writes them.

Nothing is escaped and no library is used: a link with a quote in it gives broken JSON, as it would there.
"""

from collections.abc import Callable
from dataclasses import dataclass

from exporter.simulator.links import Figures, SimulatedLink

# What the answers are announced as, by `fmt`; taken over from the provider's other commands.
MEDIA_TYPES = ("text/plain", "text/plain", "text/xml", "application/json")

# Our wording: the provider's page numbers the errors, but leaves the descriptions open.
DESCRIPTIONS = {
    1: "parameters error",
    2: "authorise error",
    3: "link not found",
    4: "ip is temporarily blocked",
    9: "duplicate request, wait a minute",
}
TOO_MANY_AT_ONCE = "too many concurrent requests"


@dataclass(frozen=True, slots=True)
class Statistics:
    """The texts of a successful answer: `counts` in the order cnt, cnt_mon, cnt_day, cnt_yes, cnt_pmon."""

    id: str
    counts: tuple[str, ...]
    link: str
    bare: bool = False  # counts stand in JSON without quotes


@dataclass(frozen=True, slots=True)
class Refusal:
    """The number of an error and its description."""

    code: int
    description: str


def statistics(link: SimulatedLink, figures: Figures) -> Statistics:
    """Put a link and its counts into the texts of an answer."""
    return Statistics(link.id, tuple(map(str, figures)), link.short)


def refusal(code: int) -> Refusal:
    """Return the error of this number, any number."""
    return Refusal(code, DESCRIPTIONS.get(code, "unknown error"))


def render(content: Statistics | Refusal, fmt: int) -> str:
    """Write an answer in format 0 (text), 1 (numbers), 2 (XML) or 3 (JSON)."""
    if isinstance(content, Refusal):
        return _REFUSALS[fmt](content)
    return _STATISTICS[fmt](content)


def _text(found: Statistics) -> str:
    return "id = {}, cnt = {}, cnt_mon = {}, cnt_day = {}, cnt_yes = {}, cnt_pmon = {}, link = {}".format(
        found.id, *found.counts, found.link
    )


def _numbers(found: Statistics) -> str:
    return ",".join((found.id, *found.counts, found.link))


def _xml(found: Statistics) -> str:
    return (
        "<result>\n<id>{}</id>\n<cnt>{}</cnt>\n<cnt_mon>{}</cnt_mon>\n<cnt_day>{}</cnt_day>\n"
        "<cnt_yes>{}</cnt_yes>\n<cnt_pmon>{}</cnt_pmon>\n<link>{}</link>\n</result>"
    ).format(found.id, *found.counts, found.link)


def _json(found: Statistics) -> str:
    counts = found.counts if found.bare else [f'"{count}"' for count in found.counts]
    return (
        '{{\n"id": "{}",\n"cnt": {},\n"cnt_mon": {},\n"cnt_day": {},\n'
        '"cnt_yes": {},\n"cnt_pmon": {},\n"link": "{}"\n}}'
    ).format(found.id, *counts, found.link)


def _error_text(error: Refusal) -> str:
    return f"ERROR = {error.code} ({error.description})"


def _error_numbers(error: Refusal) -> str:
    return f"0,-{error.code}"


def _error_xml(error: Refusal) -> str:
    return f"<result>\n<error>{error.description}</error>\n<error_code>{error.code}</error_code>\n</result>"


def _error_json(error: Refusal) -> str:
    return f'{{\n"error": "{error.description}",\n"error_code": {error.code}\n}}'


_STATISTICS: tuple[Callable[[Statistics], str], ...] = (_text, _numbers, _xml, _json)
_REFUSALS: tuple[Callable[[Refusal], str], ...] = (_error_text, _error_numbers, _error_xml, _error_json)
