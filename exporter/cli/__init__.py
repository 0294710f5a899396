"""The command line: flags in, exit code out.

Exit codes: 0 done, 1 a fault in the configuration or an address that cannot be had, 2 wrong usage.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from exporter.cli.flags import parser
from exporter.errors import ConfigError, StorageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments.insert(0, "serve")
    options = parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except ConfigError as error:
        return _fail(str(error))
    except StorageError as error:
        return _fail(f"smsc-exporter: {error}")
    except KeyboardInterrupt:
        return _fail("smsc-exporter: interrupted")
    except OSError as error:
        return _fail(f"smsc-exporter: {error}")


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1
