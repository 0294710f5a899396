"""The streams that commands print to, whatever the encoding of the terminal or the pipe."""

from __future__ import annotations

import io
import sys


def print_anything() -> None:
    """Lets both streams print any text: what their encoding lacks is written as ``\\u...``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None, where the process was started without
            stream.reconfigure(errors="backslashreplace")
