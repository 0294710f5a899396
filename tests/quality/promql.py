"""As much of PromQL as the shipped rules use, over all of a time series at once.

Prometheus itself evaluates one moment after the other, which takes hours for the weeks of traffic that a
judgement needs. That both come to the same, number by number, is a test of its own with the real promtool.

A vector is a matrix here: a row for each series, a column for each step of five minutes, NaN where a series
has nothing. Offsets and ranges are multiples of a step, as the rules' are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import promql_parser as parser
from numpy.typing import NDArray

from tests.quality.traffic import STEP

Labels = frozenset[tuple[str, str]]
Rows = Any
"""A matrix of numbers; numpy's own types say less than they ask for."""


@dataclass(frozen=True)
class Vector:
    """Series: what each is called, and its values."""

    labels: tuple[Labels, ...]
    rows: Rows


class Engine:
    """Evaluates expressions over what is stored, from one step up to another.

    ``since`` is the step from which on results matter: what is costly is left out before.
    """

    def __init__(self, stored: dict[str, Vector], steps: int, since: int = 0) -> None:
        self.stored, self.steps, self.since = stored, steps, since
        self._plans: dict[tuple[Any, ...], Any] = {}
        self._kept: list[Any] = []

    def evaluate(self, expr: Any, begin: int, end: int) -> Any:
        """A vector, or a number; raises ``NotImplementedError`` for what no rule has used so far."""
        kind = type(expr).__name__
        evaluate = getattr(self, f"_{kind}", None)
        if evaluate is None:
            raise NotImplementedError(kind)
        return evaluate(expr, begin, end)

    # --- what is stored -------------------------------------------------------------------------------------

    def _VectorSelector(self, expr: Any, begin: int, end: int) -> Vector:
        offset = _steps(expr.offset)
        return self._select(expr, begin - offset, end - offset)

    def _select(self, expr: Any, begin: int, end: int) -> Vector:
        if expr.name not in self.stored:
            return Vector((), np.empty((0, end - begin)))
        stored = self.stored[expr.name]
        found = self._plan(
            ("select", str(expr.matchers)), lambda: _matching(stored.labels, expr), stored.labels
        )
        labels, index = found
        rows = np.full((len(labels), end - begin), np.nan)
        there = slice(max(0, begin), max(0, end))
        values = stored.rows[index, there]
        rows[:, rows.shape[1] - values.shape[1] :] = values
        return Vector(labels, rows)

    # --- functions ------------------------------------------------------------------------------------------

    def _Call(self, expr: Any, begin: int, end: int) -> Any:
        name, arguments = expr.func.name, expr.args
        if name == "time":
            return np.arange(begin, end) * float(STEP)
        if name.endswith("_over_time"):
            *number, selector = arguments
            return self._over_time(name, selector, begin, end, *(float(one.val) for one in number))
        vector = self.evaluate(arguments[0], begin, end)
        if name == "label_replace":
            return self._label_replace(vector, arguments)
        others = [self.evaluate(argument, begin, end) for argument in arguments[1:]]
        return Vector(
            vector.labels,
            FUNCTIONS[name](vector.rows, *others),
        )

    def _label_replace(self, vector: Vector, arguments: Any) -> Vector:
        name, value, source, pattern = (argument.val for argument in arguments[1:])
        if source or pattern:
            raise NotImplementedError("label_replace of what a label holds")

        def renamed() -> tuple[Labels, ...]:
            return tuple(frozenset({**dict(labels), name: value}.items()) for labels in vector.labels)

        return Vector(self._plan(("name", name, value), renamed, vector.labels), vector.rows)

    def _over_time(self, name: str, expr: Any, begin: int, end: int, *number: float) -> Vector:
        """The range is closed at both ends, as in Prometheus 2."""
        offset, length = _steps(expr.vector_selector.offset), _steps(expr.range)
        begin, end = begin - offset, end - offset
        vector = self._select(expr.vector_selector, begin - length, end)
        return Vector(vector.labels, OVER_TIME[name](vector.rows, length, *number))

    # --- operators ------------------------------------------------------------------------------------------

    def _ParenExpr(self, expr: Any, begin: int, end: int) -> Any:
        return self.evaluate(expr.expr, begin, end)

    def _NumberLiteral(self, expr: Any, _begin: int, _end: int) -> float:
        return float(expr.val)

    def _AggregateExpr(self, expr: Any, begin: int, end: int) -> Vector:
        vector = self.evaluate(expr.expr, begin, end)
        groups = self._plan(
            ("group", str(expr.modifier)), lambda: _groups(vector.labels, expr.modifier), vector.labels
        )
        labels, order, starts = groups
        if not labels:
            return Vector((), np.empty((0, end - begin)))
        operator = str(expr.op)
        rows = vector.rows[order]
        if operator == "topk":  # of one, which no two share
            best = np.repeat(np.fmax.reduceat(rows, starts), np.diff([*starts, len(order)]), axis=0)
            kept = np.empty_like(rows)
            kept[order] = np.where(rows == best, rows, np.nan)
            return Vector(vector.labels, kept)
        if operator == "quantile":
            return Vector(labels, _quantile(rows, starts, float(expr.param.val)))
        return Vector(labels, AGGREGATES[operator](rows, starts))

    def _BinaryExpr(self, expr: Any, begin: int, end: int) -> Any:
        left, right = self.evaluate(expr.lhs, begin, end), self.evaluate(expr.rhs, begin, end)
        operator = str(expr.op)
        if operator == "or":
            return self._or(left, right)
        if operator in ("and", "unless"):
            return self._and(left, right, expr.modifier, present=operator == "and")
        if isinstance(left, Vector) and isinstance(right, Vector):
            key = ("pairs", str(expr.modifier))
            labels, lefts, rights = self._plan(
                key, lambda: _pairs(left.labels, right.labels, expr.modifier), left.labels, right.labels
            )
            return _apply(operator, labels, left.rows[lefts], right.rows[rights], left.rows[lefts])
        if isinstance(left, Vector):
            return _apply(operator, left.labels, left.rows, right, left.rows)
        if isinstance(right, Vector):
            return _apply(operator, right.labels, left, right.rows, right.rows)
        raise NotImplementedError("two numbers")

    def _or(self, left: Vector, right: Vector) -> Vector:
        def plan() -> Any:
            places = {labels: place for place, labels in enumerate(left.labels)}
            new = [place for place, labels in enumerate(right.labels) if labels not in places]
            both = [(places[labels], place) for place, labels in enumerate(right.labels) if labels in places]
            labels = (*left.labels, *(right.labels[place] for place in new))
            return labels, new, *np.array(both, dtype=int).reshape(-1, 2).T

        labels, new, lefts, rights = self._plan(("or",), plan, left.labels, right.labels)
        rows = np.concatenate([left.rows, right.rows[new]])
        rows[lefts] = np.where(np.isnan(left.rows[lefts]), right.rows[rights], left.rows[lefts])
        return Vector(labels, rows)

    def _and(self, left: Vector, right: Vector, modifier: Any, *, present: bool) -> Vector:
        def plan() -> Any:
            places: dict[Labels, list[int]] = {}
            for place, labels in enumerate(right.labels):
                places.setdefault(_key(labels, modifier), []).append(place)
            return [places.get(_key(labels, modifier), []) for labels in left.labels]

        key = ("and", str(modifier))
        found = self._plan(key, plan, left.labels, right.labels)
        there = ~np.isnan(right.rows)
        keep = np.array([there[places].any(axis=0) for places in found]).reshape(left.rows.shape) == present
        return Vector(left.labels, np.where(keep, left.rows, np.nan))

    def _plan(self, key: tuple[Any, ...], make: Callable[[], Any], *labels: tuple[Labels, ...]) -> Any:
        """What follows from labels alone is worked out once: they stay, while values go by."""
        whole = (*key, *map(id, labels))
        if whole not in self._plans:
            self._plans[whole] = make()
            self._kept.extend(labels)  # so that no other object gets their identity
        return self._plans[whole]


# --- labels -------------------------------------------------------------------------------------------------


def _steps(duration: Any) -> int:
    return round(duration.total_seconds()) // STEP if duration is not None else 0


def _matching(labels: tuple[Labels, ...], expr: Any) -> tuple[tuple[Labels, ...], NDArray[np.int_]]:
    index = [
        place for place, one in enumerate(labels) if all(_fits(dict(one), m) for m in expr.matchers.matchers)
    ]
    return tuple(labels[place] for place in index), np.array(index, dtype=int)


def _fits(labels: dict[str, str], matcher: Any) -> bool:
    value, operator = labels.get(matcher.name, ""), str(matcher.op).rpartition(".")[2]
    if operator in ("Equal", "NotEqual"):
        return bool(value == matcher.value) == (operator == "Equal")
    return bool(re.fullmatch(matcher.value, value)) == (operator == "Re")


def _key(labels: Labels, modifier: Any) -> Labels:
    matching = modifier.matching if modifier else None
    if matching is None:
        return labels
    return _cut(labels, matching.labels, by=str(matching.type))


def _cut(labels: Labels, names: Iterable[str], *, by: str) -> Labels:
    chosen = set(names)
    keep = by.endswith(("By", "On", "Include"))
    return frozenset((name, value) for name, value in labels if (name in chosen) == keep)


def _groups(labels: tuple[Labels, ...], modifier: Any) -> Any:
    """The labels of each group; the series in the order of their groups; where in it each group starts."""
    keys = [
        _cut(one, modifier.labels, by=str(modifier.type)) if modifier else frozenset[tuple[str, str]]()
        for one in labels
    ]
    found = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    order = sorted(range(len(keys)), key=lambda place: found[keys[place]])
    groups = [found[keys[place]] for place in order]
    starts = [0, *(place + 1 for place, (one, other) in enumerate(pairwise(groups)) if one != other)]
    return tuple(found), np.array(order, dtype=int), starts


def _pairs(left: tuple[Labels, ...], right: tuple[Labels, ...], modifier: Any) -> Any:
    """Each series of the left with its one of the right."""
    places = {_key(labels, modifier): place for place, labels in enumerate(right)}
    if len(places) < len(right):
        raise NotImplementedError("many on the right")
    both = [
        (place, places[_key(one, modifier)])
        for place, one in enumerate(left)
        if _key(one, modifier) in places
    ]
    lefts, rights = np.array(both, dtype=int).reshape(-1, 2).T
    single = modifier is not None and str(modifier.card).endswith("OneToOne")
    return tuple(_key(left[place], modifier) if single else left[place] for place in lefts), lefts, rights


# --- numbers ------------------------------------------------------------------------------------------------

ARITHMETIC: dict[str, Any] = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "^": np.power}
COMPARISONS: dict[str, Any] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
}


def _apply(operator: str, labels: tuple[Labels, ...], left: Rows, right: Rows, kept: Rows) -> Vector:
    if operator in ARITHMETIC:
        rows = ARITHMETIC[operator](left, right)
        return Vector(labels, np.where(np.isnan(kept), np.nan, rows))  # nothing to the power of 0 is nothing
    return Vector(labels, np.where(COMPARISONS[operator](left, right), kept, np.nan))


FUNCTIONS: dict[str, Any] = {
    "abs": np.abs,
    "clamp": np.clip,
    "clamp_max": np.minimum,
    "clamp_min": np.maximum,
    "sqrt": np.sqrt,
}


def _sum(rows: Rows, starts: list[int]) -> Rows:
    return np.add.reduceat(np.nan_to_num(rows), starts)


def _count(rows: Rows, starts: list[int]) -> Rows:
    counted = np.add.reduceat((~np.isnan(rows)).astype(float), starts)
    return np.where(counted > 0, counted, np.nan)


def _avg(rows: Rows, starts: list[int]) -> Rows:
    return _sum(rows, starts) / _count(rows, starts)


def _stddev(rows: Rows, starts: list[int]) -> Rows:
    return np.sqrt(np.maximum(0, _avg(rows**2, starts) - _avg(rows, starts) ** 2))


AGGREGATES: dict[str, Any] = {
    "max": np.fmax.reduceat,
    "min": np.fmin.reduceat,
    "count": _count,
    "avg": _avg,
    "stddev": _stddev,
}


def _quantile(rows: Rows, starts: list[int], share: float) -> Rows:
    sizes = np.diff([*starts, len(rows)])
    block = np.full((len(starts), max(sizes), rows.shape[1]), np.nan)
    for place, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        block[place, :size] = rows[start : start + size]
    return _sorted_quantile(block, share)


def _sorted_quantile(block: Rows, share: float) -> Rows:
    """Along the middle axis, between the two nearest values, of those that are there."""
    block = np.sort(block, axis=1)
    rank = share * np.maximum(0, (~np.isnan(block)).sum(axis=1) - 1)
    low = np.floor(rank).astype(int)
    below = np.take_along_axis(block, low[:, None], axis=1)[:, 0]
    above = np.take_along_axis(block, np.ceil(rank).astype(int)[:, None], axis=1)[:, 0]
    return below + (above - below) * (rank - low)


def _window_sum(values: Rows, length: int) -> Rows:
    """Of each step and as many before it as the range is long."""
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    return sums[:, length + 1 :] - sums[:, : -length - 1]


def _avg_over_time(rows: Rows, length: int) -> Rows:
    return _window_sum(np.nan_to_num(rows), length) / _present(rows, length)


def _present(rows: Rows, length: int) -> Rows:
    count = _window_sum((~np.isnan(rows)).astype(float), length)
    return np.where(count > 0, count, np.nan)


def _last_over_time(rows: Rows, length: int) -> Rows:
    steps = np.arange(rows.shape[1])
    latest = np.maximum.accumulate(np.where(np.isnan(rows), -1, steps), axis=1)
    recent = (latest >= 0) & (latest >= steps - length)
    return np.where(recent, np.take_along_axis(rows, np.maximum(latest, 0), axis=1), np.nan)[:, length:]


def _max_over_time(rows: Rows, length: int) -> Rows:
    """Windows twice as long each round, of which any two that overlap cover a range."""
    longest, size = rows, 1
    while 2 * size <= length + 1:
        longest = np.fmax(longest[:, size:], longest[:, :-size])
        size *= 2
    return np.fmax(longest[:, length + 1 - size :], longest[:, : rows.shape[1] - length])


def _quantile_over_time(rows: Rows, length: int, share: float) -> Rows:
    """Of the first step alone: long ranges are read once an hour, by the step."""
    return _sorted_quantile(rows[:, : length + 1, None], share)


OVER_TIME: dict[str, Any] = {
    "avg_over_time": _avg_over_time,
    "count_over_time": _present,
    "last_over_time": _last_over_time,
    "max_over_time": _max_over_time,
    "min_over_time": lambda rows, length: -_max_over_time(-rows, length),
    "present_over_time": lambda rows, length: np.minimum(_present(rows, length), 1.0),
    "quantile_over_time": _quantile_over_time,
}


def parse(text: str) -> Any:
    """An expression, as the engine takes it."""
    return parser.parse(text)
