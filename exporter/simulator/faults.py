"""The ways the provider can answer wrongly, and how to write them down.

A fault is written `name`, `name:probability`, `name@target` or `name:probability@target`; several are
separated by commas. The target is a link's id, or its full link when there is no comma in it. The first
fault that strikes a request is the one it gets.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# What each fault does to an answer; `error_N` and `http_N` come in many numbers.
FAULTS = {
    "error_N": "the provider's error N, such as error_3 or error_17",
    "http_N": "an HTTP error of the front proxy, 400 to 599, such as http_503",
    "html": "200 with a web page",
    "garbage": "random bytes",
    "truncated": "the first half of the answer, correctly framed",
    "cut": "a connection closed before all announced bytes came",
    "empty": "200 with nothing",
    "huge": "bytes without end (1 GB, or until the client hangs up)",
    "drip": "one byte a second",
    "hang": "no answer for a long time",
    "freeze": "the same, and the request counts until then as one that comes just now",
    "reset": "a connection reset without an answer",
    "redirect": "a 302 to another address that carries the request's query",
    "wrong_link": "another link's valid answer",
    "negative": "counts below zero",
    "null": "counts that are null or empty",
    "float": "counts with a fraction",
    "numbers": "counts as JSON numbers",
    "other_format": "another format than the one asked for",
    "bom": "a byte order mark first",
    "crlf": "CR LF as line ends, and some more at the end",
    "cyrillic": "a short link in Cyrillic letters",
    "utf8": "the same as UTF-8, announced as windows-1251",
    "cp1251": "the same as windows-1251, announced as UTF-8",
    "quote": "an unescaped quote and backslash in the short link",
    "comma": "commas in the short link",
}
FAULT_NAMES = tuple(FAULTS)

_SPEC = re.compile(r"(?P<name>[a-z0-9_]+)(?::(?P<probability>[^@]*))?(?:@(?P<target>.+))?")
_NUMBERED = re.compile(r"(error|http)_(\d{1,4})")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `kind` is its name, for a numbered one without the number."""

    kind: str
    number: int = 0
    probability: float = 1.0
    target: str = ""  # an id or a full link; "" means any

    @property
    def label(self) -> str:
        """What an audit calls an answer with this fault; an error's number as it would without."""
        if self.kind == "error":
            return str(self.number)
        return f"{self.kind}_{self.number}" if self.number else self.kind


def parse_faults(specs: str | Iterable[str]) -> tuple[Fault, ...]:
    """Read faults, in one text or several; raises `ValueError` saying what to write instead."""
    text = specs if isinstance(specs, str) else ",".join(specs)
    return tuple(_fault(spec.strip()) for spec in text.split(",") if spec.strip())


def _fault(spec: str) -> Fault:
    found = _SPEC.fullmatch(spec)
    if found is None:
        raise ValueError(f"fault {spec!r}: write name, name:probability or name:probability@link")
    kind, number = _kind(spec, found["name"])
    return Fault(kind, number, _probability(spec, found["probability"]), found["target"] or "")


def _kind(spec: str, name: str) -> tuple[str, int]:
    numbered = _NUMBERED.fullmatch(name)
    if numbered is None:
        if name not in FAULTS:
            raise ValueError(f"fault {spec!r}: write one of {', '.join(FAULTS)}")
        return name, 0
    kind, number = numbered[1], int(numbered[2])
    if kind == "http" and not 400 <= number <= 599:
        raise ValueError(f"fault {spec!r}: write a status from 400 to 599, such as http_503")
    if not number:
        raise ValueError(f"fault {spec!r}: write an error's number from 1, such as error_9")
    return kind, number


def _probability(spec: str, text: str | None) -> float:
    if text is None:
        return 1.0
    try:
        probability = float(text)
    except ValueError:
        probability = -1.0
    if not 0 <= probability <= 1:
        raise ValueError(f"fault {spec!r}: write a probability from 0 to 1, such as http_500:0.05")
    return probability
