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

``config`` puts everything together. ``sources`` says which files it was made from; ``watching`` follows them.
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
from exporter.config.schema import SCHEMA
from exporter.config.secrets import Finder
from exporter.config.signature import Signature, signature
from exporter.config.sources import Seen, Sources
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


def load(path: str | Path, environ: Mapping[str, str], last_good: Config | None = None) -> Config:
    """The configuration in the file at ``path``, with the variables of ``environ``.

    Raises ConfigError with every error in the file, and in every link file it names. With ``last_good``, a
    link file with errors keeps what it had there. Reads those files and the secrets' files; blocks meanwhile.
    """
    seen = {str(path): signature(Path(path))}
    document = read(Path(path))
    try:
        return _loaded(document, Path(path).parent, environ, seen, last_good)
    finally:
        document.release()


def _loaded(
    document: Document,
    folder: Path,
    environ: Mapping[str, str],
    seen: Seen,
    last_good: Config | None,
) -> Config:
    report = Report(document)
    file = validate(document.data, SCHEMA, report)
    finder = Finder(folder, environ, report)
    secrets = finder.find(document.data)
    check(document.data, secrets, report)
    report.add_empties()
    groups = groups_of(document, folder)
    for index, group in enumerate(groups):
        for pattern, message in group.endless():
            report.add(("accounts", index, "link_files", pattern), message)
    found = [group.find() for group in groups]
    if file is None or report.faults:
        unread = [
            fault for group, names in zip(groups, found, strict=True) for fault in _faults_of(group, names)
        ]
        raise ConfigError([*report.faults, *unread])
    templates = _templates(file, secrets, document, groups)
    files = [
        link_file
        for template, names in zip(templates, found, strict=True)
        for link_file in _link_files(template, names, last_good)
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
    seen |= finder.files
    sources = Sources(tuple(seen), tuple(groups), seen | _paths(groups, found))
    for template in templates:
        template.account.secret_key  # noqa: B018 - derived here, on a thread, rather than at the first poll
    return assemble(templates, storage_url(secrets, document), warnings, files, sources)


def _paths(groups: list[Group], found: list[dict[str, Signature]]) -> dict[str, Signature | None]:
    pairs = zip(groups, found, strict=True)
    return {str(group.folder / name): sign for group, names in pairs for name, sign in names.items()}


def _faults_of(group: Group, names: Mapping[str, Signature]) -> Iterator[Fault]:
    _, faults = group.read(names, {})
    for those in faults.values():
        yield from those


def _link_files(
    template: AccountTemplate, names: Mapping[str, Signature], last_good: Config | None
) -> list[LinkFile]:
    if last_good is None:
        return template.link_files(names, None, {})
    account = template.account.name
    return template.link_files(names, last_good.template(account), last_good.files_of(account))


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
        for pattern in group.unmatched():
            yield document.fault(("accounts", index, "link_files", pattern), message)
