"""``python -m tests.broken``: that the soak in virtual time can fail.

In a copy, one rule at a time is taken out of the exporter, and the soak has to notice.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SOAK = "tests/unit/polling/test_soak.py"


class Broken(NamedTuple):
    """``rule``, which stands once in ``file``, becomes ``replacement``."""

    file: str
    rule: str
    replacement: str


RULES = {
    "figures of a day end with it": Broken("exposition/slot.py", "if now < known.day_ends:", "if True:"),
    "figures of a month end with it": Broken("exposition/slot.py", "if now < known.month_ends:", "if True:"),
    "figures grow stale": Broken("exposition/slot.py", "or now >= known.stale_at:", "or False:"),
    "another link's answer is none": Broken("provider/parsing.py", "link.id != reading.id:", "False:"),
    "three attempts": Broken("rules.py", "ATTEMPTS = 3", "ATTEMPTS = 4"),
    "a whole minute": Broken("rules.py", "SPAN = 61.0\n", "SPAN = 50.0\n"),
    "fourteen at once": Broken("rules.py", "HARD_CAP = 14", "HARD_CAP = 15"),
    "what was given up is still at work": Broken("rules.py", "LINGER = 60.0", "LINGER = 0.0"),
    "four failed logins": Broken("rules.py", "FAILED_LOGINS = 4", "FAILED_LOGINS = 5"),
}


def noticed(broken: Broken) -> str:
    """How the soak ends without that rule: its assertion, or nothing if it passes."""
    with tempfile.TemporaryDirectory(prefix="smsc-exporter-broken-") as folder:
        for name in ("exporter", "tests", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, Path(folder, name))
        path = Path(folder, "exporter", broken.file)
        text = path.read_text()
        assert text.count(broken.rule) == 1, f"{broken.rule!r} is not where it was"
        path.write_text(text.replace(broken.rule, broken.replacement))
        command = [sys.executable, "-m", "pytest", "-q", "-n0", "--no-cov", "-p", "no:cacheprovider", SOAK]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = [line.removeprefix("E").strip() for line in done.stdout.splitlines() if line.startswith("E ")]
    return found[0] if found and done.returncode == 1 else ""


def main() -> None:
    print("| without the rule | the soak says |\n|---|---|")
    missed = 0
    for rule, broken in RULES.items():
        said = noticed(broken)
        missed += not said
        print(f"| {rule} | {f'`{said}`' if said else '**nothing**'} |", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
