"""``python -m tests.broken``: shows that the tests of what matters most can fail.

One rule at a time is taken out of a copy of the exporter, and the named test has to fail. Words as arguments
choose the rules whose names hold one of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
EXPOSITION = "exposition/test_exposition.py"
ATTEMPTS, LOGINS = "limits/test_attempts.py", "limits/test_logins.py"
POLLER, SNAPSHOTS = "polling/test_poller.py", "test_snapshot_order.py"


class Broken(NamedTuple):
    """``rule``, which stands once in ``file``, becomes ``replacement``; ``test`` has to fail."""

    test: str
    file: str
    rule: str
    replacement: str


CONSTANTS = "limits/constants.py"
RULES = {
    "three in a minute": Broken(ATTEMPTS, CONSTANTS, "RATE_LIMIT = 3\n", "RATE_LIMIT = 4\n"),
    "a whole minute": Broken(ATTEMPTS, CONSTANTS, "RATE_WINDOW = 61.0\n", "RATE_WINDOW = 50.0\n"),
    "fourteen at once": Broken(ATTEMPTS, CONSTANTS, "MAX_IN_FLIGHT = 14\n", "MAX_IN_FLIGHT = 15\n"),
    "abandoned requests count for longer": Broken(
        ATTEMPTS, CONSTANTS, "ABANDONED_TTL = 60.0\n", "ABANDONED_TTL = 0.0\n"
    ),
    "four failed logins": Broken(LOGINS, CONSTANTS, "FAILED_LOGIN_LIMIT = 4\n", "FAILED_LOGIN_LIMIT = 5\n"),
    "a refusal binds": Broken(
        LOGINS,
        "limits/ledger.py",
        "frozenset({Outcome.UNAUTHORIZED, Outcome.BLOCKED,",
        "frozenset({Outcome.BLOCKED,",
    ),
    "suspects are judged by their state when the answer comes": Broken(
        LOGINS,
        "limits/logins.py",
        "        self._open[attempt.number] = attempt\n",
        "        if not self._trusts(attempt):\n            self._open[attempt.number] = attempt\n",
    ),
    "what was recorded too late does not leave": Broken(
        POLLER, "polling/recorder.py", "if self._clock.monotonic() - asked_at > SEND_BY:", "if False:"
    ),
    "what was not recorded does not leave": Broken(
        POLLER, "polling/recorder.py", "if appended is not Appended.YES:", "if False:"
    ),
    "readings are ordered by their sending": Broken(
        SNAPSHOTS, "snapshots.py", "if reading is not None and order > read:", "if reading is not None:"
    ),
    "outcomes are ordered by their sending": Broken(
        SNAPSHOTS, "snapshots.py", "if order > polled:", "if True:"
    ),
    "what waits is decided again after news": Broken(
        "journal/test_contract.py",
        "journal/shared.py",
        "if any(binds(one.event) for one in news):",
        "if False:",
    ),
    "figures of a day end with it": Broken(
        EXPOSITION, "exposition/slot.py", "if now < known.day_ends:", "if True:"
    ),
    "figures of a month end with it": Broken(
        EXPOSITION, "exposition/slot.py", "if now < known.month_ends:", "if True:"
    ),
    "figures grow stale": Broken(EXPOSITION, "exposition/slot.py", "or now >= known.stale_at:", "or False:"),
    "another link's answer is none": Broken(
        "provider/test_parsing.py", "provider/parsing.py", "link.id != reading.id:", "False:"
    ),
}


def failed_tests(folder: Path, test: str) -> list[str]:
    """The names of the tests that fail in that folder."""
    options = ["-q", "-n0", "--no-cov", "-p", "no:cacheprovider", "--timeout=0"]
    command = [sys.executable, "-m", "pytest", *options, f"tests/unit/{test}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    return [line.split("::")[1].split(" - ")[0] for line in lines]


@cache
def failing_anyway(test: str) -> frozenset[str]:
    """The tests that fail with all rules in place: they show nothing."""
    return frozenset(failed_tests(ROOT, test))


def noticed(broken: Broken) -> str:
    """The first test that fails because of the rule; empty if there is none."""
    with tempfile.TemporaryDirectory(prefix="smsc-exporter-broken-") as folder:
        for name in ("exporter", "tests", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(folder, name))
        path = Path(folder, "exporter", broken.file)
        text = path.read_text()
        assert text.count(broken.rule) == 1, f"{broken.rule!r} is not where it was"
        path.write_text(text.replace(broken.rule, broken.replacement))
        failed = failed_tests(Path(folder), broken.test)
    return next((name for name in failed if name not in failing_anyway(broken.test)), "")


def main() -> None:
    print("| without the rule | in | this test fails |\n|---|---|---|")
    missed = 0
    for rule, broken in RULES.items():
        if sys.argv[1:] and not any(word in rule for word in sys.argv[1:]):
            continue
        said = noticed(broken)
        missed += not said
        print(f"| {rule} | `{broken.test}` | {f'`{said}`' if said else '**nothing**'} |", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
