"""The configuration: ``config.yaml`` and its link files to frozen models, or every fault of them at once.

The file passes through these, each a module here: ``syntax`` (bytes to YAML nodes), ``document`` (nodes to
plain data that remembers its places), ``schema`` (what may stand where, with ``values`` for single values and
``wording`` for its complaints), ``secrets``, ``checks`` and ``intervals`` (what must agree), ``build`` (the
models). A link file passes through ``formats`` (with ``table`` for CSV) and then the same; ``linkfile`` is
one of them, ``group`` all of an account. ``config`` puts everything together, anew whenever a link file has
changed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.config.build import build, clear_text, make_link, storage_url
from exporter.config.checks import check
from exporter.config.config import Config, Frame, Listing, Member, assemble, look
from exporter.config.document import Report, read
from exporter.config.durations import parse_duration
from exporter.config.group import groups_of
from exporter.config.linkfile import LinkFile
from exporter.config.schema import SCHEMA
from exporter.config.secrets import Finder
from exporter.config.wording import validate
from exporter.errors import ConfigError
from exporter.garbage import uncollected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from exporter.config.document import Document
    from exporter.config.group import Group
    from exporter.config.schema import AccountSection, File, LinkSection
    from exporter.config.secrets import Secrets
    from exporter.errors import Fault
    from exporter.model import Link

__all__ = ["Config", "LinkFile", "Listing", "load", "look", "parse_duration"]


@uncollected()
def load(path: str | Path, environ: Mapping[str, str]) -> Config:
    """The configuration in the file at ``path``, with the variables of ``environ``.

    Raises ConfigError with every fault of the file, and of every link file it names. Reads those and the
    secrets' files; blocks meanwhile.
    """
    document = read(Path(path))
    try:
        return _configured(document, Path(path).parent, environ)
    finally:
        document.take_apart()


def _configured(document: Document, folder: Path, environ: Mapping[str, str]) -> Config:
    report = Report(document)
    file = validate(document.data, SCHEMA, report)
    secrets = Finder(folder, environ, report).find(document.data)
    check(document.data, secrets, report)
    report.add_empties()
    groups = groups_of(document, folder)
    seen = [group.find() for group in groups]
    read_files = [group.read(names, {}) for group, names in zip(groups, seen, strict=True)]
    faults = [fault for _, faulty in read_files for those in faulty.values() for fault in those]
    if file is None or report.faults or faults:
        raise ConfigError([*report.faults, *faults])
    frame = _frame(file, secrets, document, groups)
    files = (
        member.take(name, names[name], draft)
        for member, names, (drafts, _) in zip(frame.members, seen, read_files, strict=True)
        for name, draft in drafts.items()
    )
    return assemble(frame, files)


def _frame(file: File, secrets: Secrets, document: Document, groups: list[Group]) -> Frame:
    accounts = build(file, secrets)
    bare = file.model_copy(update={"accounts": []})
    members = tuple(
        Member(account, _maker(bare, section), group, document.fault(("accounts", index), ""))
        for index, (account, section, group) in enumerate(zip(accounts, file.accounts, groups, strict=True))
    )
    warnings = (*clear_text(accounts, document), *_unmatched(groups, document))
    return Frame(members, storage_url(secrets, document), warnings)


def _maker(file: File, account: AccountSection) -> Callable[[LinkSection], Link]:
    """What makes links of the account; it keeps no other links, of which there may be very many."""
    return partial(make_link, file, account.model_copy(update={"links": None}))


def _unmatched(groups: list[Group], document: Document) -> Iterator[Fault]:
    message = "matches no file: links will be taken from one as soon as it is there"
    for index, group in enumerate(groups):
        for pattern in group.unmatched():
            yield document.fault(("accounts", index, "link_files", pattern), message)
