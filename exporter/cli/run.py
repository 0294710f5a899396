"""Runs a command, and says in one line what kept it from its work."""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Callable

from exporter import signals
from exporter.cli.flags import COMMANDS, SERVICES, parser
from exporter.config.values import closest
from exporter.errors import ConfigError, StorageError
from exporter.threads import ADVICE


def run(arguments: list[str]) -> int:
    """The exit code of the command that ``arguments`` name; ``serve`` if they name none."""
    _print_anything()
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments.insert(0, "serve")
    if arguments[0] not in SERVICES:
        signals.release()
    options = _parse(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except ConfigError as error:
        for warning in error.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        return _fail(str(error))
    except (StorageError, OSError) as error:
        return _fail(f"smsc-exporter: {error}")
    except KeyboardInterrupt:
        return _fail("smsc-exporter: interrupted")
    except RuntimeError as error:
        if "start new thread" not in str(error):  # what threading says; it has no exception of its own
            raise
        return _fail(f"smsc-exporter cannot start a thread: {ADVICE}")


def _print_anything() -> None:
    """Lets both streams print any text: what their encoding lacks is written as ``\\u...``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None, where the process was started without
            stream.reconfigure(errors="backslashreplace")


def _parse(arguments: list[str]) -> argparse.Namespace:
    """The flags. Ends the process with exit code 2 if there are no such ones, and says which come near."""
    whole, command = parser(), arguments[0]
    if command not in COMMANDS and not command.startswith("-"):
        near = closest(command, set(COMMANDS))
        advice = f'did you mean "{near}"?' if near else f"write one of {', '.join(COMMANDS)}"
        whole.error(f'there is no command "{command}": {advice}')
    options, unknown = whole.parse_known_args(arguments)
    if unknown:
        flags = set(re.findall(r"--[\w.-]+", options.parser.format_usage()))
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}{_hint(unknown[0], flags)}")
    return options


def _hint(unknown: str, flags: set[str]) -> str:
    if unknown in COMMANDS:
        return ": write one command, before all flags"
    near = closest(unknown.partition("=")[0], flags)
    return f": did you mean {near}?" if near else ""


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1
