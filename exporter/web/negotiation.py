"""Which format and coding a reader asks for, by the weights of its headers (RFC 9110, section 12.4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENMETRICS = "application/openmetrics-text"


class _Offer(NamedTuple):
    name: str
    version: str
    weight: float


def _offers(header: str) -> Iterator[_Offer]:
    for part in header.lower().split(","):
        name, *rest = part.split(";")
        given = dict(text.replace(" ", "").partition("=")[::2] for text in rest)
        yield _Offer(name.strip(), given.get("version", "").strip('"'), _weight(given.get("q", "1")))


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header asks for OpenMetrics 1.0.0 rather than for the text format 0.0.4."""
    weights: dict[str, float] = {}
    for name, version, weight in _offers(accept):
        if version in {"", "1.0.0" if name == OPENMETRICS else "0.0.4"}:
            weights[name] = max(weight, weights.get(name, 0.0))
    text = next((weights[name] for name in ("text/plain", "text/*", "*/*") if name in weights), 0.0)
    openmetrics = weights.get(OPENMETRICS, 0.0)
    return openmetrics > 0 and openmetrics >= text


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    weights = {name: weight for name, _, weight in _offers(accept_encoding)}
    return weights.get("gzip", weights.get("*", 0.0)) > 0
