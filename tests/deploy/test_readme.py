"""What deploy/README.md tells is so: links, paths, commands, and a word on every line of the sandbox."""

from __future__ import annotations

import re
from itertools import chain

import pytest

from exporter import __version__
from tests.deploy.shipped import DEPLOY, README, README_COMMANDS, ROOT, SYSTEMD

SANDBOX = (SYSTEMD / "smsc-exporter.service").read_text().partition("LoadCredential")[1:]


def test_links_lead_somewhere() -> None:
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in _titles()}
    for path, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", README):
        assert not path or (DEPLOY / path).exists(), path
        assert path or anchor in anchors, anchor


def _titles() -> list[str]:
    return re.findall(r"^#+ (.*)$", README, re.MULTILINE)


def test_files_in_commands_are_there() -> None:
    named = set(chain.from_iterable(re.findall(r"\bdeploy/[\w./-]+", block) for block in README_COMMANDS))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_image_has_the_version() -> None:
    assert set(re.findall(r"\bsmsc-exporter:([\d.]+)", README)) == {__version__}


@pytest.mark.parametrize(
    "key", sorted(set(re.findall(r"^(\w+)=", "".join(SANDBOX), re.MULTILINE)) - {"WantedBy"})
)
def test_every_line_of_the_sandbox_is_told_with_its_price(key: str) -> None:
    assert re.search(rf"^\| [^|]*`{key}`[^|]* \| .+ \|$", README, re.MULTILINE)
