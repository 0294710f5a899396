"""The configuration: ``config.yaml`` and its link files to frozen models, or every fault of them at once.

The file passes through these modules in turn:

- ``files`` reads it, ``syntax`` turns bytes into YAML nodes;
- ``document`` turns nodes into plain data that remembers its places;
- ``schema`` says what may be where, with ``values`` for single values and ``wording`` for its messages;
- ``secrets`` finds secrets, ``checks`` and ``intervals`` compare values with each other;
- ``doubts`` warns of what is probably not meant;
- ``build`` makes the models.

A link file passes through ``formats`` (with ``table`` for CSV), then through those modules. ``linkfile`` is
one file, ``group`` all files of an account, ``patterns`` finds them.

``config`` puts everything together. ``sources`` reads the files and says when one has changed; ``watching``
follows them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exporter.config.build import build, clear_text, storage_url
from exporter.config.checks import check
from exporter.config.config import AccountTemplate, Config, assemble
from exporter.config.document import Report, read
from exporter.config.doubts import doubts
from exporter.config.durations import parse_duration
from exporter.config.group import groups_of
from exporter.config.linkfile import LinkFile
from exporter.config.patterns import TooManyEntriesError
from exporter.config.schema import SCHEMA
from exporter.config.secrets import Finder
from exporter.config.sources import Signature, Sources
from exporter.config.wording import validate
from exporter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exporter.config.document import Document
    from exporter.config.group import Group
    from exporter.config.schema import File
    from exporter.config.secrets import Secrets
    from exporter.errors import Fault

__all__ = ["Config", "LinkFile", "Sources", "load", "parse_duration"]


def load(
    path: str | Path,
    environ: Mapping[str, str],
    last_good: Config | None = None,
    sources: Sources | None = None,
) -> Config:
    """The configuration in the file at ``path``, with the variables of ``environ``.

    Raises ConfigError with every error in the file, and in every link file it names. With ``last_good``, a
    link file with errors keeps what it had there. ``sources`` reads the files; blocks meanwhile.
    """
    sources = sources or Sources()
    document = read(Path(path), sources)
    try:
        return _loaded(document, Path(path).parent, environ, sources, last_good)
    finally:
        document.release()


def _loaded(
    document: Document,
    folder: Path,
    environ: Mapping[str, str],
    sources: Sources,
    last_good: Config | None,
) -> Config:
    report = Report(document)
    file = validate(document.data, SCHEMA, report)
    secrets = Finder(folder, environ, report, sources).find(document.data)
    check(document.data, secrets, report)
    report.add_empties()
    groups = groups_of(document, folder)
    found = [_found(group, index, report, sources) for index, group in enumerate(groups)]
    if file is None or report.faults:
        unread = [
            fault
            for group, names in zip(groups, found, strict=True)
            for fault in _faults_of(group, names, sources)
        ]
        raise ConfigError([*report.faults, *unread])
    templates = _templates(file, secrets, document, groups)
    files = [
        link_file
        for template, names in zip(templates, found, strict=True)
        for link_file in _link_files(template, names, last_good, sources)
    ]
    faults = [fault for link_file in files for fault in link_file.faults]
    if faults and last_good is None:
        raise ConfigError(faults)
    accounts = tuple(template.account for template in templates)
    warnings = (
        *clear_text(accounts, document),
        *_unmatched(groups, document),
        *doubts(document, secrets),
    )
    for template in templates:
        template.account.secret_key  # noqa: B018 - derived here, on a thread, rather than at the first poll
    return assemble(templates, storage_url(secrets, document), warnings, files)


def _found(group: Group, index: int, report: Report, sources: Sources) -> dict[str, Signature]:
    """The group's files, sorted by name. Patterns that look at too much are reported."""
    found: dict[str, Signature] = {}
    for number, files in enumerate(group.find(sources)):
        if isinstance(files, TooManyEntriesError):
            report.add(("accounts", index, "link_files", number), str(files))
        else:
            found |= files
    return dict(sorted(found.items()))


def _faults_of(group: Group, names: Mapping[str, Signature], sources: Sources) -> Iterator[Fault]:
    _, faults = group.read(names, {}, sources)
    for those in faults.values():
        yield from those


def _link_files(
    template: AccountTemplate, names: Mapping[str, Signature], last_good: Config | None, sources: Sources
) -> list[LinkFile]:
    if last_good is None:
        return template.link_files(names, None, {}, sources)
    account = template.account.name
    return template.link_files(names, last_good.template(account), last_good.files_of(account), sources)


def _templates(
    file: File, secrets: Secrets, document: Document, groups: list[Group]
) -> tuple[AccountTemplate, ...]:
    """What link files will need; it keeps no links of ``config.yaml``, of which there may be very many."""
    accounts = build(file, secrets)
    bare = file.model_copy(update={"accounts": []})
    return tuple(
        AccountTemplate(
            account,
            bare,
            section.model_copy(update={"links": None}),
            group,
            document.fault(("accounts", index), ""),
        )
        for index, (account, section, group) in enumerate(zip(accounts, file.accounts, groups, strict=True))
    )


def _unmatched(groups: list[Group], document: Document) -> Iterator[Fault]:
    message = "matches no file: links will be taken from one as soon as it is there"
    for index, group in enumerate(groups):
        for number, files in enumerate(group.find(Sources())):
            if not files:
                yield document.fault(("accounts", index, "link_files", number), message)
