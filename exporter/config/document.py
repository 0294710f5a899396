"""A file as plain dicts, lists and text, that remembers where everything stands; and what is wrong in it."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias, Union

import yaml

from exporter.config.syntax import CONFIG, DEEPEST, TOO_DEEP, compose, read_text
from exporter.errors import ConfigError, Fault

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.config.sources import Sources
    from exporter.config.syntax import Naming

Plain: TypeAlias = Union[str, list["Plain"], dict[str, "Plain"], None]  # noqa: UP007 - it names itself
Loc: TypeAlias = tuple[str | int, ...]
Pairs: TypeAlias = dict[str, tuple[yaml.Node, yaml.Node]]

EMPTY = "is empty: give it a value, or remove it"
NOT_UNICODE = "is not valid Unicode: remove the \\u escape"

_MOST_NODES, _FEW_NODES = 1_000_000, 100_000
_SECRET_KEYS = frozenset({"login", "password", "api_key", "key", "proxy"})
_CUT = re.compile(r"[ \t]++#[^\s#]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def mapping(value: Plain) -> dict[str, Plain]:
    """``value`` when it is a mapping, else an empty one: for checks that run beside other faults."""
    return value if isinstance(value, dict) else {}


def sequence(value: Plain) -> list[Plain]:
    """``value`` when it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def quote(text: str) -> str:
    """``text`` in double quotes, on one line and not too long: fit for a message."""
    short = text if len(text) <= 60 else text[:57] + "..."
    return json.dumps(_SURROGATE.sub("?", short), ensure_ascii=False)


def path_of(loc: Loc) -> str:
    """``loc`` as users read it, ``accounts[0].links[3].id``, without anything that may be a secret."""
    path = ""
    for index, step in enumerate(loc):
        if isinstance(step, int):
            path += f"[{step}]"
            continue
        # `{password:abc}` without a space is the key "password:abc": what follows a colon stays unsaid, and
        # so does what is no word, for a secret may have run into it
        name = step.partition(":")[0]
        told = re.fullmatch(r"[\w-]+", name) and not _is_user(loc[: index + 1])
        path += f".{name}" if told else '["?"]'
        if step in _SECRET_KEYS or loc[: index + 1] == ("storage", "url"):
            break
    return path.removeprefix(".")


def _is_user(loc: Loc) -> bool:
    """Whether a user of the web configuration is there: any word may be one, half a password too."""
    return len(loc) > 1 and loc[0] == "basic_auth_users"


class Source(ABC):
    """A file of any format: its plain ``data``, and the places of everything in it.

    ``faults`` are those of the format itself (keys twice, tags), ``spoilt`` the places where they leave
    nothing more to say; ``empties`` are the places without a value. ``file`` is the file's name as it was
    given.
    """

    data: Plain

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self.spoilt: set[Loc] = set()
        self.empties: list[Loc] = []

    def fault(self, loc: Loc, message: str, *, key: bool = False, hidden: bool = False) -> Fault:
        """The fault ``message`` at ``loc``: at its value, or at its key when ``key`` is set.

        If ``hidden``, the key itself stays unsaid.
        """
        path = self.path((*loc[:-1], "?") if hidden else loc)
        return Fault(self.file, *self.place(loc, key=key), path, message)

    @abstractmethod
    def place(self, loc: Loc, *, key: bool = False) -> tuple[int, int]:
        """Line and column, from 1, of what stands at ``loc``; what is missing is missing from its mapping."""
        ...

    def path(self, loc: Loc) -> str:
        """``loc`` as users of the format read it."""
        return path_of(loc)

    def is_cut(self, loc: Loc) -> bool:
        """Whether the text at ``loc`` ends where a comment begins that is probably part of it."""
        return False


class Document(Source):
    """A YAML file."""

    def __init__(self, file: str, root: yaml.Node, text: str = "") -> None:
        super().__init__(file)
        self._root = root
        self._text = text
        self._pairs: dict[int, Pairs] = {}
        self._nodes = 0
        # Aliases may make more of a text than stands there, but of a few lines nothing that takes seconds.
        self._most = min(_MOST_NODES, _FEW_NODES + root.end_mark.index)
        self.data = self._plain(root, ())

    def place(self, loc: Loc, *, key: bool = False) -> tuple[int, int]:
        """Where the node at ``loc`` begins."""
        key_node = node = self._root
        for step in loc:
            found = self._step(node, step)
            if found is None:
                return _mark(node)
            key_node, node = found
        return _mark(key_node if key else node)

    def is_cut(self, loc: Loc) -> bool:
        """Whether ``#`` and a letter follow the unquoted text at ``loc``: comments mostly have a space."""
        node = self._root
        for step in loc:
            found = self._step(node, step)
            if found is None:
                return False
            node = found[1]
        plain = isinstance(node, yaml.ScalarNode) and not node.style
        return plain and bool(_CUT.match(self._text, node.end_mark.index))

    def release(self) -> None:
        """Frees the nodes one by one.

        Freed at once, those of 10,000 links would hold up all other threads for a tenth of a second.
        """
        while self._pairs:
            self._pairs.popitem()
        nodes = [self._root]
        while nodes:
            node = nodes.pop()
            if not isinstance(node, yaml.ScalarNode):
                nodes += node.value if isinstance(node, yaml.SequenceNode) else chain(*node.value)
                node.value.clear()

    def _step(self, node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
        if isinstance(step, int):
            item = node.value[step]
            return item, item
        return self._pairs.get(id(node), {}).get(step)

    def _plain(self, node: yaml.Node, loc: Loc) -> Plain:
        self._nodes += 1
        if self._nodes > self._most:
            self._stop_at_aliases(node, loc)
        if len(loc) > DEEPEST:
            self._stop(node, loc, TOO_DEEP)
        self._check_tag(node, loc)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, loc)
        if isinstance(node, yaml.MappingNode):
            pairs = self._pairs_of(node, loc)
            return {name: self._plain(value, (*loc, name)) for name, (_, value) in pairs.items()}
        return [self._plain(item, (*loc, index)) for index, item in enumerate(node.value)]

    def _scalar(self, node: yaml.ScalarNode, loc: Loc) -> str | None:
        text: str = node.value
        if not node.style and text in {"", "~", "null", "Null", "NULL"}:
            self.empties.append(loc)
            return None
        if _SURROGATE.search(text):
            self._note(node, loc, NOT_UNICODE)
            return _SURROGATE.sub("?", text)
        return text

    def _check_tag(self, node: yaml.Node, loc: Loc) -> None:
        if not node.tag.startswith("tag:yaml.org,2002:"):
            self.spoilt.add(loc)
            self._note(node, loc, "an unknown tag (!): put text that begins with ! in quotes")

    def _pairs_of(self, node: yaml.MappingNode, loc: Loc) -> Pairs:
        """The mapping's keys, merged ones (``<<``) included; worked out once for all aliases to it."""
        if id(node) not in self._pairs:
            self._pairs[id(node)] = {}  # until it is whole: a mapping that merges itself adds nothing
            self._pairs[id(node)] = self._gather(node, loc)
        return self._pairs[id(node)]

    def _gather(self, node: yaml.MappingNode, loc: Loc) -> Pairs:
        own: Pairs = {}
        merged: Pairs = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.spoilt.add(loc)
                self._note(key, loc, "a key must be plain text: put a value with {{ }} in quotes")
            elif key.value == "<<" and not key.style:
                for name, pair in self._merge(value, loc).items():
                    merged.setdefault(name, pair)
            elif _SURROGATE.search(key.value):
                self._note(key, (*loc, key.value), NOT_UNICODE)
            elif key.value in own:
                line = own[key.value][0].start_mark.line + 1
                # without a value it may be a piece of a secret with commas in it
                name = key.value if value.value else "?"
                self._note(key, (*loc, name), f"this key is already set on line {line}: keep one of the two")
            else:
                own[key.value] = key, value
        return {**merged, **own}

    def _merge(self, value: yaml.Node, loc: Loc) -> Pairs:
        """The keys of all mappings that ``value`` names: of two that are the same, the first."""
        merged: Pairs = {}
        seen: set[int] = set()
        for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if id(source) in seen:  # of a second alias to it, nothing is new
                continue
            seen.add(id(source))
            if isinstance(source, yaml.MappingNode):
                pairs = self._pairs_of(source, loc)
                self._nodes += len(pairs)
                if self._nodes > self._most:
                    self._stop_at_aliases(source, loc)
                for key, pair in pairs.items():
                    merged.setdefault(key, pair)
            else:
                self._note(source, loc, "<< takes mappings only: write an alias (*name) to one")
        return merged

    def _stop_at_aliases(self, node: yaml.Node, loc: Loc) -> None:
        self._stop(node, loc, f"aliases make this document larger than {self._most} values: write fewer")

    def _note(self, node: yaml.Node, loc: Loc, message: str) -> None:
        self.faults.append(Fault(self.file, *_mark(node), path_of(loc), message))

    def _stop(self, node: yaml.Node, loc: Loc, message: str) -> None:
        raise ConfigError([Fault(self.file, *_mark(node), path_of(loc[:3]), message)])


class Report:
    """Collects the faults of one file: one for each place, the first that was said."""

    def __init__(self, document: Source) -> None:
        self.document = document
        self.places: set[Loc] = set(document.spoilt)
        self.faults = list(document.faults)

    def add(self, loc: Loc, message: str, *, key: bool = False, hidden: bool = False) -> None:
        """Add ``message`` at ``loc``, unless a fault was already found there; see ``Source.fault``."""
        if loc not in self.places:
            self.places.add(loc)
            self.faults.append(self.document.fault(loc, message, key=key, hidden=hidden))

    def add_empties(self) -> None:
        """Report what has no value, except inside of what is wrong as a whole."""
        for loc in self.document.empties:
            if not any(loc[:end] in self.places for end in range(len(loc))):
                self.add(loc, EMPTY)


def read(path: Path, sources: Sources, naming: Naming = CONFIG) -> Document:
    """The mapping in the file at ``path``. Raises ConfigError when there is none to be had."""
    document = parse(path, read_text(path, sources, naming), naming)
    if not isinstance(document.data, dict):
        message = f"the file must be a mapping: begin with a key such as {naming.first_key}"
        raise ConfigError([document.fault((), message), *document.faults])
    return document


def parse(path: Path, text: str, naming: Naming) -> Document:
    """The document that ``text`` is. Raises ConfigError when it is none."""
    root = compose(path, text, naming=naming)
    try:
        return Document(str(path), root, text)
    except RecursionError:  # a thousand mappings, each merging the one before
        raise ConfigError([Fault(str(path), *_mark(root), "", TOO_DEEP)]) from None


def _mark(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
