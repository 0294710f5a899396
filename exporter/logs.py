"""Logging: one line per event, in logfmt or JSON, on standard error."""

from __future__ import annotations

import codecs
import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.typing import Processor

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("logfmt", "json")

_SHARED: tuple[Processor, ...] = (
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    # The plain traceback: the others would show local variables, and secrets among them.
    structlog.processors.format_exc_info,
)


def configure(level: str, format: Literal["logfmt", "json"], stream: TextIO = sys.stderr) -> None:  # noqa: A002 - the flag's own name
    """Sends the exporter's events and the libraries' warnings to ``stream``, as ``--log.*`` says."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(format, stream),
            ],
            foreign_pre_chain=[*_SHARED, structlog.stdlib.ExtraAdder()],
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    logging.getLogger("exporter").setLevel(level.upper())


def is_unicode(stream: TextIO | None) -> bool:
    """Whether ``stream`` can print every character as it is."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    return codecs.lookup(encoding).name.startswith("utf-")


def _renderer(format: str, stream: TextIO) -> Processor:  # noqa: A002 - the flag's own name
    if format == "json":
        # What a stream cannot print becomes \xe9 or \U0001f331 there, and JSON knows neither.
        return structlog.processors.JSONRenderer(ensure_ascii=not is_unicode(stream))
    return structlog.processors.LogfmtRenderer(
        key_order=["ts", "level", "event"], drop_missing=True, bool_as_flag=False
    )
