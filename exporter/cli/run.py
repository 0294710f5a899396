"""Runs a command, and says in one line what kept it from its work."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from exporter import signals
from exporter.cli.flags import SERVICES, parser
from exporter.cli.output import print_anything
from exporter.errors import ConfigError, StorageError
from exporter.threads import ADVICE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def run(arguments: list[str]) -> int:
    """The exit code of the command that ``arguments`` name; ``serve`` if they name none."""
    print_anything()
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments.insert(0, "serve")
    if arguments[0] not in SERVICES:
        signals.release()
    options = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except ConfigError as error:
        return _fail(str(error))
    except (StorageError, OSError) as error:
        return _fail(f"smsc-exporter: {error}")
    except KeyboardInterrupt:
        return _fail("smsc-exporter: interrupted")
    except RuntimeError as error:
        if "start new thread" not in str(error):  # what threading says; it has no exception of its own
            raise
        return _fail(f"smsc-exporter cannot start a thread: {ADVICE}")


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1
