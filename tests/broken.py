"""``python -m tests.broken``: shows that the tests of what matters most can fail.

One rule at a time is taken out of a copy of the exporter, and the named test has to fail. Words as arguments
choose the rules and files whose names hold all of them.
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
WORLD = "polling/test_worst_cases.py"
"""The provider counts what arrives there, in virtual time, from one exporter or three on one journal."""
ATTEMPTS, LOGINS = "limits/test_attempts.py", "limits/test_logins.py"
POLLER, SNAPSHOTS = "polling/test_poller.py", "test_snapshot_order.py"
EXPOSITION, PARSING = "exposition/test_exposition.py", "provider/test_parsing.py"
MEMORY, CONTRACT, WRITERS = "journal/test_memory.py", "journal/test_contract.py", "journal/test_writers.py"
REDIS, REDIS_WRITERS = "journal/test_redis.py", "journal/test_redis_writers.py"
LOST, CLOCKS, READINGS = (f"journal/test_redis_{name}.py" for name in ("lost", "clocks", "readings"))


class Broken(NamedTuple):
    """``rule``, which stands once in ``file``, becomes ``replacement``; each of ``tests`` has to fail."""

    file: str
    rule: str
    replacement: str
    tests: tuple[str, ...]


CONSTANTS, LEDGER, LOGIN_RULES = "limits/constants.py", "limits/ledger.py", "limits/logins.py"
RECORDER, SLOT, SCRIPT = "polling/recorder.py", "exposition/slot.py", "journal/redis_script.py"
RULES = {
    # --- the limits
    "three in a minute": Broken(CONSTANTS, "RATE_LIMIT = 3\n", "RATE_LIMIT = 4\n", (ATTEMPTS, WORLD)),
    "a whole minute": Broken(CONSTANTS, "RATE_WINDOW = 61.0\n", "RATE_WINDOW = 50.0\n", (ATTEMPTS, WORLD)),
    "fourteen at once": Broken(CONSTANTS, "MAX_IN_FLIGHT = 14\n", "MAX_IN_FLIGHT = 15\n", (ATTEMPTS, WORLD)),
    "abandoned requests count for longer": Broken(
        CONSTANTS, "ABANDONED_TTL = 60.0\n", "ABANDONED_TTL = 0.0\n", (ATTEMPTS, WORLD)
    ),
    "four failed logins": Broken(
        CONSTANTS, "FAILED_LOGIN_LIMIT = 4\n", "FAILED_LOGIN_LIMIT = 5\n", (LOGINS, WORLD)
    ),
    "for half an hour": Broken(
        CONSTANTS, "FAILED_LOGIN_WINDOW = 1801.0\n", "FAILED_LOGIN_WINDOW = 1500.0\n", (LOGINS, WORLD)
    ),
    "one login at a time that is not verified": Broken(
        LOGIN_RULES,
        "if any(one.live_until > now for one in self._unverified()):",
        "if False:",
        (LOGINS, WORLD),
    ),
    # --- the ledger and its journals
    "a refusal binds": Broken(
        LEDGER,
        "frozenset({Outcome.UNAUTHORIZED, Outcome.BLOCKED, Outcome.THROTTLED})",
        "frozenset({Outcome.THROTTLED})",
        (LOGINS, WORLD),
    ),
    "what binds is learnt before anything else is recorded": Broken(
        "limits/events.py",
        "return isinstance(event, Sent) or event.binds",
        "return isinstance(event, Sent)",
        (CONTRACT, REDIS),
    ),
    "suspects are judged by their state when the answer comes": Broken(
        LOGIN_RULES,
        "        self._open[attempt.number] = attempt\n",
        "        if not self._trusts(attempt):\n            self._open[attempt.number] = attempt\n",
        (LOGINS, WORLD),
    ),
    "what was recorded too late does not leave": Broken(
        RECORDER, "if self._clock.monotonic() - asked_at > SEND_BY:", "if False:", (POLLER, WORLD)
    ),
    "what was not recorded does not leave": Broken(
        RECORDER, "if appended is not Appended.YES:", "if False:", (POLLER, WORLD)
    ),
    "readings are ordered by their sending": Broken(
        "snapshots.py",
        "if reading is not None and order > read:",
        "if reading is not None:",
        (SNAPSHOTS, WORLD),
    ),
    "outcomes are ordered by their sending": Broken(
        "snapshots.py", "if order > polled:", "if True:", (SNAPSHOTS,)
    ),
    # --- memory
    "a start without a memory counts two requests for each link": Broken(
        "journal/journal.py", "attempts=2", "attempts=0", (MEMORY,)
    ),
    # --- SQLite and Redis
    "what waits is decided again after news": Broken(
        "journal/shared.py",
        "if any(binds(one.event) for one in news):",
        "if False:",
        (CONTRACT, REDIS),
    ),
    # --- SQLite
    "the file takes no request of whoever has not learnt all that binds": Broken(
        "journal/sqlite.py",
        "recorded = not any(binds(event) for _, _, event in rows)",
        "recorded = True",
        (CONTRACT, WRITERS),
    ),
    "the file keeps the reading that was sent last": Broken(
        "journal/sqlite_schema.py",
        "figures = iif(coalesce(excluded.at >= at, TRUE),",
        "figures = iif(TRUE,",
        (CONTRACT,),
    ),
    # --- Redis
    "the script takes no request of whoever has not learnt all that binds": Broken(
        SCRIPT, "verdict = 'behind'", "verdict = 'yes'", (REDIS, REDIS_WRITERS)
    ),
    "the stream is trimmed by our own clock": Broken(
        SCRIPT,
        "if minid ~= '' then redis.call('XTRIM', events, 'MINID', minid) end",
        "redis.call('XTRIM', events, 'MINID', string.format('%.0f', now - 240000))",
        (CLOCKS,),
    ),
    "the epoch is compared": Broken(SCRIPT, "redis.call('GET', epoch) ~= ARGV[1] or ", "", (LOST,)),
    "Redis keeps the newer reading": Broken(SCRIPT, "if later then at,", "if false then at,", (READINGS,)),
    # --- figures
    "figures of a day end with it": Broken(SLOT, "if now < known.day_ends:", "if True:", (EXPOSITION,)),
    "figures of a month end with it": Broken(SLOT, "if now < known.month_ends:", "if True:", (EXPOSITION,)),
    "figures grow stale": Broken(SLOT, "or now >= known.stale_at:", "or False:", (EXPOSITION,)),
    "another link's answer is none": Broken(
        "provider/parsing.py", "link.id != reading.id:", "False:", (PARSING,)
    ),
}


def failed_tests(folder: Path, test: str, *options: str) -> list[str]:
    """The names of the tests that fail in that folder."""
    options = (
        "-q",
        "-m",
        "",  # slow ones too
        "-n0",
        "--no-cov",
        "-p",
        "no:cacheprovider",
        "--timeout=0",
        "--show-capture=no",
        *options,
    )
    command = [sys.executable, "-m", "pytest", *options, f"tests/unit/{test}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    return [line.removeprefix("FAILED ").split(" - ")[0] for line in lines]


@cache
def failing_anyway(test: str) -> list[str]:
    """The tests that fail with all rules in place: they show nothing."""
    return failed_tests(ROOT, test)


def noticed(broken: Broken, test: str) -> str:
    """The first test that fails because of the rule; empty if there is none."""
    with tempfile.TemporaryDirectory(prefix="smsc-exporter-broken-") as folder:
        for name in ("exporter", "tests", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(folder, name))
        path = Path(folder, "exporter", broken.file)
        text = path.read_text()
        assert text.count(broken.rule) == 1, f"{broken.rule!r} is not where it was"
        path.write_text(text.replace(broken.rule, broken.replacement))
        passing = [f"--deselect={name}" for name in failing_anyway(test)]
        failed = failed_tests(Path(folder), test, "-x", *passing)
    return failed[0].partition("::")[2] if failed else ""


def main() -> None:
    print("| without the rule | in | this test fails |\n|---|---|---|")
    missed = 0
    for rule, broken in RULES.items():
        for test in broken.tests:
            if not all(word in f"{rule} {test}" for word in sys.argv[1:]):
                continue
            said = noticed(broken, test)
            missed += not said
            print(f"| {rule} | `{test}` | {f'`{said}`' if said else '**nothing**'} |", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
