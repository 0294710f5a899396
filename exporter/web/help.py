"""The documentation as web pages: the Markdown files of ``docs/``, which are part of an installation."""

from __future__ import annotations

import posixpath
import re
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

from aiohttp import hdrs, web
from markdown_it import MarkdownIt
from markdown_it.token import Token

from exporter.web.connections import Slots
from exporter.web.templating import ENVIRONMENT, POLICY

_PACKAGE = Path(__file__).parents[1]
# An installation has the documents inside the package, a clone beside it.
DOCS = next(folder for folder in (_PACKAGE / "docs", _PACKAGE.parent / "docs") if folder.is_dir())

FOLDERS = {"runbooks": "runbooks", "docs": "."}
"""The sections, which begin a page's path, and the folder in ``DOCS`` of each."""

_INDEX = {"docs": "README"}
"""The page that stands for a section; a section without one is a list of its pages."""

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


def pages(section: str) -> dict[str, str]:
    """The pages of a section: name and title."""
    files = sorted((DOCS / FOLDERS[section]).glob("*.md"))
    return {path.stem: path.read_text("utf-8").partition("\n")[0].lstrip("# ") for path in files}


class Help:
    """Answers ``/runbooks/NAME`` and ``/docs/NAME``. Another name gets a list of them."""

    def __init__(self) -> None:
        self._pages = {section: pages(section) for section in FOLDERS}

    def add_to(self, app: web.Application, slots: Slots) -> None:
        """Adds both sections to ``app``."""
        for section in FOLDERS:
            handle = slots.limited(partial(self._handle, section))
            app.router.add_get(f"/{section}/{{name:[^/]*}}", handle)

    async def _handle(self, section: str, request: web.Request) -> web.Response:
        name = request.match_info["name"].removesuffix(".md") or _INDEX.get(section, "")
        there = self._pages[section]
        missing = bool(name) and name not in there
        text = ENVIRONMENT.get_template("help.html").render(
            title=there.get(name, section.capitalize()),
            text=_html(section, name) if name in there else "",
            missing=missing,
            section=section,
            pages=there,
        )
        headers = {hdrs.CONTENT_SECURITY_POLICY: POLICY}
        status = 404 if missing else 200
        return web.Response(text=text, status=status, content_type="text/html", headers=headers)


@cache
def _html(section: str, name: str) -> str:
    file = posixpath.join(FOLDERS[section], f"{name}.md")
    tokens = _MARKDOWN.parse((DOCS / file).read_text("utf-8"))
    for opening, inline in pairwise(tokens):
        opening.attrs.pop("style", None)  # a column's alignment, which POLICY forbids
        if opening.type == "heading_open":
            opening.attrs["id"] = _anchor(inline.content)
        for child in inline.children or ():
            _adapt(child, file)
    html: str = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    return html


def _anchor(heading: str) -> str:
    """The name that Git hosts give a heading, so that links into a page work here too."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _adapt(token: Token, file: str) -> None:
    """Makes a link of ``file`` lead to the page that shows its target, if any. An image becomes its text."""
    if token.type == "image":
        token.type, token.children = "text", None
    elif token.type == "link_open":
        token.attrs = {"href": address} if (address := _address(str(token.attrs["href"]), file)) else {}


def _address(target: str, file: str) -> str | None:
    path, anchor, fragment = target.partition("#")
    if not path or target.startswith("https://"):
        return target
    folder, found = posixpath.split(posixpath.normpath(posixpath.join(posixpath.dirname(file), path)))
    section = next((section for section, each in FOLDERS.items() if each == (folder or ".")), None)
    if section is None or not (DOCS / folder / found).is_file():
        return None
    return f"../{section}/{found.removesuffix('.md')}{anchor}{fragment}"
