"""Which changes of the rules a promtool test notices, asked in one run for all of them.

promtool loads a test's series and evaluates all rules at every step, which takes seconds. So the rules run
side by side, as shipped and as changed. Each name ends in the number of a change, 0 for none. A change has
copies of those rules alone in which it can show; they read the shipped ones besides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.rules.shipped import PROMETHEUS, RULE_FILES, TEST_FILES, parse, read, run

Documents = dict[str, Any]
"""Files of rules by their names."""

EXPECTATIONS = ("promql_expr_test", "alert_rule_test")
RULE_TEXTS = {name: (PROMETHEUS / "rules" / name).read_text() for name in RULE_FILES}
WRITTEN = {name: read(PROMETHEUS / "tests" / name) for name in TEST_FILES}
"""The files of tests."""

NAME = re.compile(r"(?:smsc:|Smsc)[\w:]+")
"""What may be a rule's name, in any text."""


class Change(NamedTuple):
    """Changed rules; ``reached`` are the names of those that are looked at for the change."""

    number: int
    documents: Documents
    reached: set[str]

    def named(self, part: Any) -> Any:
        """A rule or an expectation, with the names that it and what it reads have in the run."""
        text = NAME.sub(lambda name: f"{name[0]}_{self.number * (name[0] in self.reached)}", json.dumps(part))
        return json.loads(text)


def shipped() -> Documents:
    """The rules as they are, to be changed."""
    return {name: parse(text) for name, text in RULE_TEXTS.items()}


def all_rules(documents: Documents) -> Iterator[dict[str, Any]]:
    """Every rule, in order."""
    return (
        rule for document in documents.values() for group in document["groups"] for rule in group["rules"]
    )


def unnoticed(
    folder: Path, file: str, name: str, changes: dict[str, Documents], shown: dict[str, str]
) -> list[str]:
    """The changes with which that test of the file does not fail; ``folder`` is for promtool.

    ``shown`` names for some of them the rule of which the test has to expect something else. Other rules are
    not changed with them, which saves most of the work. Without a change the test must not fail. A rule that
    cannot be evaluated ends a run: the others run again.
    """
    (test,) = (test for test in WRITTEN[file]["tests"] if test["name"] == name)
    files = [path.removeprefix("../rules/") for path in WRITTEN[file]["rule_files"]]
    plain = {name: document for name, document in shipped().items() if name in files}
    names = {_name(rule) for rule in all_rules(plain)}
    test = test | {kind: [_explicit(one, names) for one in test.get(kind, [])] for kind in EXPECTATIONS}
    left = {"": Change(0, plain, names)}
    for number, (guard, changed) in enumerate(changes.items(), 1):
        reached = _reached(plain, changed)
        if guard in shown:
            reached &= _needed(plain, {shown[guard]})
        left[guard] = Change(number, changed, reached)
    ended = True
    while ended:
        written = {**WRITTEN[file], "rule_files": files, "tests": [test]}
        failed, ended = _failed(folder, written, list(left.values()))
        left = {guard: change for guard, change in left.items() if change.number not in failed}
    return list(left)[1:]


def _failed(folder: Path, written: Any, changes: list[Change]) -> tuple[set[int], bool]:
    """The changes with which promtool finds something else than is expected, and whether it ended there."""
    (test,) = written["tests"]
    expected = {
        kind: [change.named(one) for one in test[kind] for change in changes if change.reached & _names(one)]
        for kind in EXPECTATIONS
    }
    for name, document in _side_by_side(changes, _names(expected)).items():
        (folder / name).write_text(json.dumps(document))
    (folder / "test.yml").write_text(json.dumps({**written, "tests": [{**test, **expected}]}))
    done = run("promtool", "test", "rules", "test.yml", cwd=folder)
    said = done.stdout + done.stderr
    faults = re.findall(r"^ *(rule|expr|alertname): (.*), time: ", said, re.MULTILINE)
    failed = {max(int(name.rpartition("_")[2]) for name in NAME.findall(what)) for _, what in faults}
    assert 0 not in failed, said
    assert bool(failed) == bool(done.returncode), said
    return failed, any(kind == "rule" for kind, _ in faults)


def _side_by_side(changes: list[Change], wanted: set[str]) -> Documents:
    """The rules of all changes, each behind what is shipped; but none that nothing ``wanted`` depends on."""
    together: Documents = {}
    for name, document in changes[0].documents.items():
        groups = [
            {**group, "rules": list(_copies(changes, name, at))}
            for at, group in enumerate(document["groups"])
        ]
        together[name] = {"groups": groups}
    needed = _needed(together, wanted)
    for group in (group for document in together.values() for group in document["groups"]):
        group["rules"] = [rule for rule in group["rules"] if _name(rule) in needed]
    return together


def _copies(changes: list[Change], file: str, group: int) -> Iterator[dict[str, Any]]:
    versions = (change.documents[file]["groups"][group]["rules"] for change in changes)
    for same in zip(*versions, strict=True):
        for change, rule in zip(changes, same, strict=True):
            if _name(rule) in change.reached:
                yield change.named(rule)


def _reached(plain: Documents, changed: Documents) -> set[str]:
    """The names of the changed rules, and of those that read what these make."""
    pairs = list(zip(all_rules(plain), all_rules({name: changed[name] for name in plain}), strict=True))
    reached: set[str] = set()
    while (
        new := {_name(rule) for before, rule in pairs if before != rule or _names(rule) & reached} - reached
    ):
        reached |= new
    return reached


def _needed(documents: Documents, wanted: set[str]) -> set[str]:
    """What is wanted, and the names of all rules whose results show in it."""
    needed: set[str] = set()
    while wanted - needed:
        needed |= wanted
        wanted = {name for rule in all_rules(documents) if _name(rule) in needed for name in _names(rule)}
    return needed


def _name(rule: dict[str, Any]) -> str:
    return str(rule.get("alert", rule.get("record")))


def _names(part: Any) -> set[str]:
    return set(NAME.findall(json.dumps(part)))


def _explicit(expectation: Any, names: set[str]) -> Any:
    """Where it selects rules by a pattern, it names them: so it finds no copies."""

    def each(found: re.Match[str]) -> str:
        label, sign, pattern = found.groups()
        chosen = (name for name in names if bool(re.fullmatch(pattern, name)) == (sign == "=~"))
        return f'{label}=~"{"|".join(sorted(chosen))}"'

    if "expr" not in expectation:
        return expectation
    expr = re.sub(r'(alertname|__name__)(=~|!=)"([^"]*)"', each, expectation["expr"])
    assert not re.search(r"ALERTS(?!{alertname)", expr), f"{expr}: of which alerts?"
    return {**expectation, "expr": expr}
