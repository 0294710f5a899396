"""The documentation as web pages: every runbook is one, and every link in it leads somewhere."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from exporter.web.help import DOCS, FOLDERS, pages
from tests.unit.web.test_web import Desk

RUNBOOKS = sorted(path.stem for path in (DOCS / "runbooks").glob("*.md"))


def _paths() -> list[str]:
    return [f"/{section}/{name}" for section in FOLDERS for name in ("", *pages(section))]


def test_every_page_is_there_and_every_link_of_it_leads_somewhere() -> None:
    paths = _paths()
    reachable = {"../", *(f"..{path}" for path in paths)}

    async def talk(client: TestClient[Any, Any]) -> None:
        for path in paths:
            async with client.get(path) as response:
                assert (response.status, response.content_type) == (200, "text/html"), path
                assert "style-src 'sha256-" in response.headers["Content-Security-Policy"]
                text = await response.text()
            assert not re.search(" style=|<img", text), path  # the policy would forbid both
            targets = set(re.findall('href="([^"#]+)', text))
            assert {each for each in targets if not each.startswith("https://")} <= reachable, path

    Desk().run(talk)


def test_the_documentation_begins_with_its_index() -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.get("/docs/") as response:
            text = await response.text()
        assert "<h1" in text
        assert "<td>write <code>config.yaml</code> or files with links</td>" in text
        assert '<a href="../docs/configuration">Configuration</a>' in text

    Desk().run(talk)


def test_a_runbook_is_rendered() -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        for path in ("/runbooks/SmscLinkDataStale", "/runbooks/SmscLinkDataStale.md"):
            async with client.get(path) as response:
                text = await response.text()
            assert '<h2 id="meaning">Meaning</h2>' in text
            assert '<a href="../runbooks/SmscAccountThrottled">SmscAccountThrottled</a>' in text
            assert "<table>" in text
            assert "<title>SmscLinkDataStale – smsc-exporter</title>" in text

    Desk().run(talk)


@pytest.mark.parametrize("name", ["Nope", "..%2f..%2fREADME", "<script>", "SmscLinkDataStale.md.md"])
def test_a_name_that_does_not_exist_gets_a_list_of_those_that_do(name: str) -> None:
    async def talk(client: TestClient[Any, Any]) -> None:
        async with client.get(f"/runbooks/{name}") as response:
            text = await response.text()
            assert response.status == 404
        assert "There is no page of this name." in text
        assert "<script>" not in text
        assert re.findall(r'<li><a href="../runbooks/(\w+)">', text) == RUNBOOKS

    Desk().run(talk)
