"""The command line: flags in, exit code out.

Exit codes: 0 done, 1 an error in the configuration or of the API, 2 wrong usage. Signals are caught before
anything heavy is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from exporter import signals


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    signals.catch_early()
    for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        os.environ.pop(name, None)  # prometheus_client would show the counts of other processes
    from exporter.cli.run import run

    return run(list(sys.argv[1:] if argv is None else argv))
