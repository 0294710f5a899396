"""Tells systemd how the service is doing, by the datagrams that sd_notify(3) describes.

Does nothing where there is no systemd, or where the unit's ``Type=`` does not ask for it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping

import structlog

log = structlog.stdlib.get_logger(__name__)


class ServiceManager:
    """The systemd that started this process, as ``environ`` describes it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog_seconds = int(environ.get("WATCHDOG_USEC", "0")) / 1e6 if mine else 0.0

    def ready(self, status: str) -> None:
        """Says that the start, or the reload announced before, has succeeded. ``status`` is one line."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Announces a reload that systemd asked for by SIGHUP. ``ready`` ends it.

        After errors call ``status`` instead: without ``ready`` in time, ``systemctl reload`` fails.
        """
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, text: str) -> None:
        """Sets the one line that ``systemctl status`` shows."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """Says that the process is about to end."""
        self._send("STOPPING=1")

    async def keep_watchdog(self, healthy: Callable[[], bool]) -> None:
        """Calms the watchdog for as long as ``healthy``, twice in each ``WatchdogSec=``.

        Returns at once without a watchdog. Run it in the event loop: if that hangs, systemd restarts us.
        """
        while self._watchdog_seconds:
            if healthy():
                self._send("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_seconds / 2)

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as datagrams:
                datagrams.setblocking(False)
                datagrams.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            log.warning("systemd_not_notified", error=str(error))
