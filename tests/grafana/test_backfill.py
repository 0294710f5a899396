"""What promtool is to record of the past, in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from grafana import backfill
from tests.rules.shipped import read


def test_each_file_reads_what_those_before_it_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backfill.main(tmp_path / "passes")
    files = capsys.readouterr().out.split()
    assert files == sorted(map(str, (tmp_path / "passes").iterdir()))
    known: set[str] = set()
    for file in sorted((tmp_path / "passes").iterdir()):
        (group,) = read(file)["groups"]
        read_here = {
            name for rule in group["rules"] for name in re.findall(r"smsc:[a-z_:0-9]+", rule["expr"])
        }
        assert read_here - known <= {"smsc:clicks:burst_p99"}
        known |= {rule["record"] for rule in group["rules"]}
    # All of which the rules need to have weeks.
    assert {"smsc:clicks:total", "smsc:clicks:delta", "smsc:clicks:smooth", "smsc:clicks:burst"} <= known
