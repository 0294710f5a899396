"""What systemd hears, over a real Unix datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.sdnotify import ServiceManager


class Systemd:
    """The end of the socket that systemd holds."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(10)
        self.socket.bind(address.replace("@", "\0"))
        self.environ = {"NOTIFY_SOCKET": address}

    def hear(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    """Both kinds of address that systemd may give."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@smsc-exporter-test-{os.getpid()}"
    systemd = Systemd(address)
    with systemd.socket:
        yield systemd


def test_a_start_a_reload_and_a_stop_are_told(systemd: Systemd) -> None:
    manager = ServiceManager(systemd.environ)
    manager.ready("polling 12 links")
    assert systemd.hear() == ["READY=1", "STATUS=polling 12 links"]
    before = time.monotonic_ns() // 1000
    manager.reloading()
    reloading, when = systemd.hear()
    assert reloading == "RELOADING=1"
    assert before <= int(when.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    manager.status("the reload failed: 1 error")
    assert systemd.hear() == ["STATUS=the reload failed: 1 error"]
    manager.stopping()
    assert systemd.hear() == ["STOPPING=1"]


def test_the_watchdog_is_calmed_while_the_exporter_is_healthy(systemd: Systemd) -> None:
    answers = iter([True, False, True])

    def healthy() -> bool:
        """Ends the test after three questions."""
        try:
            return next(answers)
        except StopIteration:
            raise asyncio.CancelledError from None

    environ = systemd.environ | {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getpid())}
    with suppress(asyncio.CancelledError):
        asyncio.run(ServiceManager(environ).keep_watchdog(healthy))
    assert [systemd.hear(), systemd.hear()] == [["WATCHDOG=1"]] * 2
    systemd.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.hear()


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}])
def test_there_is_no_watchdog_unless_it_is_for_this_process(environ: dict[str, str]) -> None:
    asyncio.run(ServiceManager(environ).keep_watchdog(lambda: pytest.fail("nobody asks")))


def test_without_systemd_nothing_happens() -> None:
    with capture_logs() as logged:
        ServiceManager({}).ready("polling")
    assert logged == []


def test_a_socket_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    with capture_logs() as logged:
        ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("polling")
    assert [entry["event"] for entry in logged] == ["systemd_not_notified"]
