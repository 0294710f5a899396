"""Lists sentences that are too long or badly worded, in documents and in what the program says.

``python -m tests.words`` prints them, one a line: where, why, and the sentence.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
LONGEST = 30
"""Words in a sentence."""

LONGEST_IN_README = 25
"""Words in a sentence of the page that everybody reads first."""

TICS = {
    "told, stands, taken, anew, mend": re.compile(
        r"\b(told|stands|taken|anew|mend(s|ed|ing)?)\b(?! together)", re.IGNORECASE
    ),
    "be it": re.compile(r"\bbe it\b", re.IGNORECASE),
    "fault, say error": re.compile(r"(?<!-)\bfaults?\b", re.IGNORECASE),
    '"what ..." as a subject': re.compile(r"^What (?!.*\?$)", re.MULTILINE),
    "a chain of of": re.compile(r"\bof( [\w'-]+){1,4} of( [\w'-]+){1,4} of\b", re.IGNORECASE),
    "colon after colon": re.compile(r": .*\w.*: "),
}
FAULTS_ARE_SIMULATED = re.compile(r"simulat|demo|/faults?\b|--fault")
"""Where the simulator is spoken of, a fault is what it is told to do wrong."""

NO_PROSE = re.compile(
    r"^\s*(SELECT|INSERT|CREATE|DELETE|UPDATE|PRAGMA|BEGIN|REPLACE|WITH|local )|\breturn \{|\(\?[:=!]"
)


class Complaint(NamedTuple):
    """A sentence, and what is wrong with it."""

    place: str
    reason: str
    sentence: str


YAML_LINE = re.compile(r" +(- )?[{\w]+: ")
YAML_OR_PLACE = re.compile(
    r"^((account |link |storage\.|smsc-exporter|X)[\w.]*: )+"
    r"|(?<=write )[a-z_]+: [^ ,]*|such as .*$|\b\w+_\w+: X|: adaptive\b"
)
"""Colons of a message that are no prose: after its place, and in YAML that it quotes."""


def complaints(place: str, text: str) -> Iterator[Complaint]:
    """What is wrong with the sentences of a paragraph."""
    for sentence in re.split(r"(?<=[.!?])[)\"*_]*\s+(?=[A-Z*_`(\"0-9])", text):
        words = re.findall(r"[^\s|]*\w[^\s|]*", sentence)
        if len(words) > (LONGEST_IN_README if place == "README.md" else LONGEST):
            yield Complaint(place, f"{len(words)} words", sentence)
        for reason, tic in TICS.items():
            if tic.search(sentence) and not (
                "fault" in reason and FAULTS_ARE_SIMULATED.search(place + sentence)
            ):
                yield Complaint(place, reason, sentence)


# --- documents --------------------------------------------------------------------------------------------


def documents() -> list[Path]:
    """Every page that a person reads."""
    folders = [ROOT / name for name in ("docs", "grafana", "deploy")]
    found = [*ROOT.glob("*.md"), *(path for folder in folders for path in folder.rglob("*.md"))]
    return sorted(
        path for path in found if "node_modules" not in path.parts
    )  # grafana/render's, if installed


def paragraphs(markdown: str) -> Iterator[str]:
    """The text of a page without code, headings and marks: paragraphs, points of lists, cells of tables."""
    text = re.sub(r"^( *)```.*?^ *```$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "Code", text)
    text = re.sub(r"^ *([-*]|\d+\.) ", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"^\|(.*)\|$", lambda row: "\n\n" + row[1].replace("|", "\n\n"), text, flags=re.MULTILINE)
    for block in re.split(r"\n\s*\n|^#+ .*$", text, flags=re.MULTILINE):
        if paragraph := " ".join(block.replace("**", "").split()):
            yield paragraph


# --- what the program says --------------------------------------------------------------------------------


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """The texts of a Python file, with their lines; a place that is filled in later is the word X."""
    tree = ast.parse(path.read_text())
    inner = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)
    }
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and not {id(node)} & (inner | docs)
        ):
            text = node.value
        else:
            continue
        if " " in text.strip() and not NO_PROSE.search(text):
            yield node.lineno, text


def alerts(path: Path) -> Iterator[tuple[str, str]]:
    """The texts of a file of alerts, by the alert's name; what a template fills in is the word X."""
    for group in yaml.safe_load(path.read_text())["groups"]:
        for rule in group["rules"]:
            for text in rule.get("annotations", {}).values():
                yield rule["alert"], re.sub(r"\{\{.*?\}\}", "X", text)


def everything() -> Iterator[Complaint]:
    """All complaints about all texts."""
    for path in documents():
        for paragraph in paragraphs(path.read_text()):
            yield from complaints(str(path.relative_to(ROOT)), paragraph)
    for path in sorted((ROOT / "exporter").rglob("*.py")):
        for line, text in messages(path):
            for part in text.split("\n"):
                if YAML_LINE.match(part):
                    continue
                yield from complaints(f"{path.relative_to(ROOT)}:{line}", YAML_OR_PLACE.sub("code", part))
    for path in sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")):
        for alert, text in alerts(path):
            yield from complaints(f"{path.name}: {alert}", text)


if __name__ == "__main__":
    found = [*everything()]
    for place, reason, sentence in found:
        sys.stdout.write(f"{place}: {reason}: {sentence}\n")
    sys.exit(f"{len(found)} sentences" if found else 0)
