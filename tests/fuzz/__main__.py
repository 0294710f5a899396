"""``python -m tests.fuzz parsing|config|links [--seconds 60]``: bytes that look for untrodden ways.

Atheris changes the bytes and keeps those that reach code no others reached. What it finds wrong it leaves in
a file named ``crash-...``, which belongs into the tests. It is an extra: ``pip install -e '.[fuzz]'``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zoneinfo
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

with atheris.instrument_imports(include=["exporter.provider.parsing", "exporter.config", "exporter.errors"]):
    from exporter.config import load
    from exporter.errors import ConfigError, PollError
    from exporter.provider.parsing import parse

from exporter.simulator import Provider, Settings
from tests.factories import make_link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
SECRET = "nobody-may-see-this"
LINK = make_link(id="145142")
SLOW = "alias-bomb.yaml"
"""Refused after a million values, in seconds: what is made from it would take all the time there is."""

# Asked for at each misspelt time zone, it reads the same six hundred files each time.
zoneinfo.available_timezones = cache(zoneinfo.available_timezones)


def parsing(data: bytes) -> None:
    """An answer is a reading of that link with counts of clicks, or a ``PollError``."""
    charset = ("utf-8", "windows-1251", None, "koi8-r")[data[0] % 4] if data else None
    with suppress(PollError):
        reading = parse(data[1:], charset, LINK)
        counts = (reading.all_time, reading.month, reading.today, reading.yesterday, reading.previous_month)
        assert reading.id == LINK.id
        assert min(counts) >= 0


def config(data: bytes) -> None:
    """A file is a configuration, or a ``ConfigError`` that has a place and tells no secret."""
    CONFIG.write_bytes(data)
    try:
        said = repr(load(CONFIG, {"SMSC_PASSWORD": SECRET}))
    except ConfigError as error:
        said = str(error) or SECRET
    assert SECRET not in said


def links(data: bytes) -> None:
    """A link file, its kind told by the first byte, is links, or a ``ConfigError`` that points into it."""
    file = FILES[data[0] % len(FILES)] if data else FILES[0]
    for other in FILES:
        other.unlink(missing_ok=True)
    file.write_bytes(data[1:])
    blamed = {str(file)}
    try:
        load(CONFIG, {})
    except ConfigError as error:
        blamed = {fault.file for fault in error.faults}
    assert blamed == {str(file)}


TARGETS: dict[str, Callable[[bytes], None]] = {"parsing": parsing, "config": config, "links": links}
# In memory where there is such a place: opening a file on a disk takes as long as all that we do with it.
MEMORY = "/dev/shm"  # noqa: S108 - a folder of its own is made in it
FOLDER = tempfile.TemporaryDirectory(
    prefix="smsc-exporter-fuzz-", dir=MEMORY if Path(MEMORY).is_dir() else None
)
CONFIG = Path(FOLDER.name) / "config.yaml"
FILES = [CONFIG.with_name(f"links{suffix}") for suffix in (".csv", ".json", ".yaml")]


def seeds(target: str) -> Iterator[bytes]:
    """What the bytes are made from at first: whole answers and whole files, and broken ones."""
    if target == "config":
        bad = (ROOT / "tests" / "config" / "bad").glob("*.yaml")
        yield b"accounts: [{name: a, login: x, password: y, links: [{id: '1'}]}]"
        yield from (path.read_bytes() for path in [ROOT / "config.yaml", *bad] if path.name != SLOW)
        return
    if target == "links":
        bad = (ROOT / "tests" / "config" / "bad_links").iterdir()
        kinds = {file.suffix: bytes([number]) for number, file in enumerate(FILES)}
        yield from (kinds[path.suffix] + path.read_bytes() for path in bad if path.suffix in kinds)
        yield b"\0id,name,team\n1,one,growth\n2,two,\n"
        yield b'\1[{"id": "1", "labels": {"team": "growth"}}]'
        yield b"\2- id: 1\n- {link: smsc.tips/abc, name: two}\n"
        return
    provider = Provider(Settings())
    for fmt in "0123":
        for fault in ("", "error_3", "quote", "null", "bom", "html", "numbers"):
            provider.faults = fault
            query = {"get": "1", "login": "demo", "psw": "demo", "id": "145142", "fmt": fmt}
            yield b"\1" + provider.arrive(query, "192.0.2.1").reply.body


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    corpus = Path(FOLDER.name) / "corpus"
    corpus.mkdir()
    CONFIG.write_text("accounts: [{name: a, login: x, password: y, link_files: ['links.*']}]")
    for number, seed in enumerate(seeds(options.target)):
        (corpus / str(number)).write_bytes(seed)
    flags = [f"-max_total_time={options.seconds}", "-max_len=4096", "-print_final_stats=1", "-timeout=10"]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], TARGETS[options.target])
    atheris.Fuzz()


main()
