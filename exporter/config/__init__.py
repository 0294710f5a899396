"""The configuration: ``config.yaml`` to frozen models, or every fault of it at once.

The file passes through these, each a module here: ``syntax`` (bytes to YAML nodes), ``document`` (nodes to
plain data that remembers its places), ``schema`` (what may stand where, with ``values`` for single values and
``wording`` for its complaints), ``secrets``, ``checks`` and ``intervals`` (what must
agree), ``build`` (the models).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exporter.config.build import Config, build
from exporter.config.checks import check
from exporter.config.document import Report, read
from exporter.config.durations import parse_duration
from exporter.config.schema import SCHEMA
from exporter.config.secrets import Finder
from exporter.config.wording import validate
from exporter.garbage import uncollected

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Config", "load", "parse_duration"]


@uncollected()
def load(path: str | Path, environ: Mapping[str, str]) -> Config:
    """The configuration in the file at ``path``, with the variables of ``environ``.

    Raises ConfigError with every fault of the file. Reads the file and the secrets' files; blocks meanwhile.
    """
    document = read(Path(path))
    report = Report(document)
    file = validate(document.data, SCHEMA, report)
    secrets = Finder(Path(path).parent, environ, report).find(document.data)
    check(document.data, secrets, report)
    report.add_empties()
    if file is None or report.faults:
        raise report.error()
    return build(file, secrets, document)
