"""``python -m tests.fuzz TARGET [--seconds 60]``: bytes that look for untrodden ways. See ``TARGETS``.

Atheris changes the bytes and keeps those that reach code no others reached. What it finds wrong it leaves in
a file named ``crash-...``, which belongs into the tests. Of some inputs it also measures the growth:
twice the input may take two and a half times as long. It is an extra: ``pip install -e '.[fuzz]'``.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
import zoneinfo
from contextlib import suppress
from functools import cache
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=[
        "aiohttp",
        "exporter.config",
        "exporter.errors",
        "exporter.provider",
        "exporter.web",
        "exporter.webconfig",
    ]
):
    from exporter.config import load
    from exporter.errors import ConfigError, PollError
    from exporter.provider.parsing import parse
    from exporter.webconfig import load as load_web
    from tests.fuzz import wires

from collections.abc import Callable, Iterator

from exporter.simulator import Provider, Settings
from tests.factories import make_link

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


def links(suffix: str) -> Callable[[bytes], None]:
    """A link file is links, or a ``ConfigError`` that points into it."""

    def target(data: bytes) -> None:
        file = CONFIG.with_name(f"links{suffix}")
        file.write_bytes(data)
        blamed = {str(file)}
        try:
            load(CONFIG, {})
        except ConfigError as error:
            blamed = {fault.file for fault in error.faults}
        assert blamed == {str(file)}

    return target


def web(data: bytes) -> None:
    """A web configuration is one, or a ``ConfigError`` with a place."""
    file = CONFIG.with_name("web.yaml")
    file.write_bytes(data)
    blamed = {str(file)}
    try:
        load_web(file)
    except ConfigError as error:
        blamed = {fault.file for fault in error.faults}
    assert blamed == {str(file)}


def growing(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """``target``, which now and then is given an input many times over, and twice as many times."""
    counter = itertools.count(1)

    def measured(data: bytes) -> None:
        target(data)
        if data and next(counter) % MEASURED == 0:
            times = GROWN // len(data) + 1
            for _ in range(3):  # a machine that is busy makes one measurement wrong, but not three
                once, twice = spent(target, data * times), spent(target, data * 2 * times)
                if twice < max(MOST_GROWTH * once, NOISE):
                    return
            raise AssertionError(f"twice the input took {twice / once:.1f} times as long")

    return measured


def spent(target: Callable[[bytes], None], data: bytes) -> float:
    """The processor time of one run, in seconds."""
    begun = time.process_time()
    target(data)
    return time.process_time() - begun


TARGETS: dict[str, Callable[[bytes], None]] = {
    "parsing": parsing,
    "config": config,
    "csv": links(".csv"),
    "json": links(".json"),
    "yaml": links(".yaml"),
    "web": web,
    "answer": wires.answer,
    "request": wires.request,
}
MEASURED = 200
"""One input in so many is measured."""
GROWN = 16_384
"""Bytes that it is made to have."""
MOST_GROWTH = 2.5
NOISE = 0.05
# In memory where there is such a place: opening a file on a disk takes as long as all that we do with it.
MEMORY = "/dev/shm"  # noqa: S108 - a folder of its own is made in it
FOLDER = tempfile.TemporaryDirectory(
    prefix="smsc-exporter-fuzz-", dir=MEMORY if Path(MEMORY).is_dir() else None
)
CONFIG = Path(FOLDER.name) / "config.yaml"


def seeds(target: str) -> Iterator[bytes]:
    """What the bytes are made from at first: whole answers and whole files, and broken ones."""
    unit = ROOT / "tests" / "unit"
    if target == "config":
        yield b"accounts: [{name: a, login: x, password: y, links: [{id: '1'}]}]"
        files = [ROOT / "config.yaml", *(unit / "config" / "bad").glob("*.yaml")]
        yield from (path.read_bytes() for path in files if path.name != SLOW)
        return
    if target in {"answer", "request"}:
        yield from wires.ANSWERS if target == "answer" else wires.REQUESTS
        return
    if target == "web":
        yield b"basic_auth_users: {a: b}"
        yield from (path.read_bytes() for path in (unit / "webconfig" / "bad").glob("*.yaml"))
        return
    if target != "parsing":
        bad = (unit / "config" / "bad_links").glob(f"*.{target}")
        yield from (path.read_bytes() for path in bad)
        yield {
            "csv": b"id,name,team\n1,one,growth\n2,two,\n",
            "json": b'[{"id": "1"}]',
            "yaml": b"- id: 1\n",
        }[target]
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
    CONFIG.write_text(
        "storage: {url: 'memory:'}\naccounts: [{name: a, login: x, password: y, link_files: ['links.*']}]"
    )
    for number, seed in enumerate(seeds(options.target)):
        (corpus / str(number)).write_bytes(seed)
    flags = [f"-max_total_time={options.seconds}", "-max_len=4096", "-print_final_stats=1", "-timeout=20"]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], growing(TARGETS[options.target]))
    atheris.Fuzz()


main()
