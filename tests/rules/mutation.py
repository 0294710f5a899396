"""Whether a promtool test notices changed rules, asked as cheaply as an honest answer allows.

promtool evaluates every rule of a file at every step, though a change can only show in what depends on it.
So it gets the rules and the expectations that a change can reach, and no others.
"""

from __future__ import annotations

import json
import re
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.rules.shipped import PROMETHEUS, RULE_FILES, TEST_FILES, parse, read, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Documents = dict[str, Any]
"""Files of rules by their names."""

EXPECTATIONS = ("promql_expr_test", "alert_rule_test")
SMALL = 0.5
"""Expectations that need less than this share of the rules are asked for first."""


RULE_TEXTS = {name: (PROMETHEUS / "rules" / name).read_text() for name in RULE_FILES}
_SHIPPED = {name: parse(text) for name, text in RULE_TEXTS.items()}
_TESTS = {name: read(PROMETHEUS / "tests" / name) for name in TEST_FILES}


def all_rules(documents: Documents) -> Iterator[dict[str, Any]]:
    """Every rule, in order."""
    return (
        rule for document in documents.values() for group in document["groups"] for rule in group["rules"]
    )


def notices(folder: Path, documents: Documents, file: str, name: str) -> bool:
    """Whether that test of the file fails with these rules; ``folder`` is for promtool."""
    (test,) = (test for test in _TESTS[file]["tests"] if test["name"] == name)
    reached = _reached(documents, test)
    assert reached, f"{name}: the change reaches nothing that is expected"
    whole = len(_needed(documents, reached))
    small = [one for one in reached if len(_needed(documents, [one])) < SMALL * whole]
    return any(_fails(folder, documents, file, test, some) for some in (small, reached) if some)


def _reached(documents: Documents, test: dict[str, Any]) -> list[Any]:
    """The test's expectations that depend on a changed rule."""
    pairs = zip(all_rules(documents), all_rules(_SHIPPED), strict=True)
    changed = {number for number, (rule, shipped) in enumerate(pairs) if rule != shipped}
    expected = (one for kind in EXPECTATIONS for one in test.get(kind, []))
    return [one for one in expected if changed & _needed(documents, [one])]


def _fails(folder: Path, documents: Documents, file: str, test: dict[str, Any], expected: list[Any]) -> bool:
    """Whether promtool finds something else than is expected, rather than a rule that it cannot read."""
    chosen = {kind: [one for one in test.get(kind, []) if one in expected] for kind in EXPECTATIONS}
    for name, document in _only(documents, _needed(documents, expected)).items():
        (folder / name).write_text(json.dumps(document))
    written = {**_TESTS[file], "rule_files": list(documents), "tests": [{**test, **chosen}]}
    (folder / "test.yml").write_text(json.dumps(written))
    done = run("promtool", "test", "rules", "test.yml", cwd=folder)
    said = done.stdout + done.stderr
    assert done.returncode == 0 or re.search(r"exp:|duplicate series", said), said
    return done.returncode != 0


def _only(documents: Documents, needed: set[int]) -> Documents:
    """The rules with these numbers."""
    number = count()
    return {
        name: {
            "groups": [
                {**group, "rules": [rule for rule in group["rules"] if next(number) in needed]}
                for group in document["groups"]
            ]
        }
        for name, document in documents.items()
    }


def _needed(documents: Documents, expected: Iterable[Any]) -> set[int]:
    """The numbers of all rules whose results show in what is expected."""
    rules = list(all_rules(documents))
    needed: set[int] = set()
    texts = [" ".join(str(one.get("expr", one.get("alertname"))) for one in expected)]
    while texts:
        selectors: set[tuple[str, str]] = {found for text in texts for found in SELECTOR.findall(text)}
        new = {
            number for number, rule in enumerate(rules) if any(_selects(*found, rule) for found in selectors)
        }
        texts = [rules[number]["expr"] for number in new - needed]
        needed |= new
    return needed


SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*|(?={))(?:\{([^}]*)\})?")
"""A word, which may be the name of a series, with its matchers; or these alone."""


def _selects(name: str, matchers: str, rule: dict[str, Any]) -> bool:
    """Whether a selector may find what the rule makes: no label that the rule sets says otherwise."""
    own = ("ALERTS", rule["alert"]) if "alert" in rule else (rule["record"],)
    labels = {"__name__": own[0], "alertname": own[-1], **rule.get("labels", {})}
    return name in ("", *own) and all(
        label not in labels or re.fullmatch(value, labels[label])
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', matchers)
    )
