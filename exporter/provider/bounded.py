"""A bound on what a server may send for one request, whatever it sends.

Aiohttp bounds each header and leaves the body to us. But it reads interim answers, chunk extensions and empty
lines without end, and shows them to nobody. A server that sends nothing else would keep a core busy until the
timeout. So the bytes are counted where they come in.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aiohttp import AddrInfoType

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MOST_RECEIVED = 256 * 1024
"""Bytes: the largest body, several headers of the largest size, and what TLS adds."""

_PIECE = 16 * 1024
"""Bytes read at once. More would hold up the event loop, if they are a thousand interim answers."""


class BoundedSocket(socket.socket):
    """A TCP socket that raises EMSGSIZE when more than ``MOST_RECEIVED`` bytes come in for one request.

    It is what ``aiohttp.TCPConnector`` takes as its ``socket_factory``.
    """

    def __init__(self, address: AddrInfoType) -> None:
        family, kind, protocol, *_ = address
        super().__init__(family, kind, protocol)
        self._left = MOST_RECEIVED

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send, and count from the start again if this is a request."""
        self._on_send()
        return super().send(data, flags)

    def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[tuple[int, int, ReadableBuffer]] = (),
        flags: int = 0,
        address: tuple[Any, ...] | str | ReadableBuffer | None = None,
        /,
    ) -> int:
        """Send, and count from the start again if this is a request."""
        self._on_send()
        return super().sendmsg(buffers, ancdata, flags, address)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive and count. Raises OSError (EMSGSIZE) when it is too much."""
        data = super().recv(min(size, _PIECE), flags)
        self._count(len(data))
        return data

    def recv_into(self, buffer: WriteableBuffer, size: int = 0, flags: int = 0) -> int:
        """Receive and count. Raises OSError (EMSGSIZE) when it is too much."""
        received = super().recv_into(buffer, min(size or memoryview(buffer).nbytes, _PIECE), flags)
        self._count(received)
        return received

    def _on_send(self) -> None:
        # Requests are sent by tasks. What TLS answers by itself, such as key updates, a server could ask for
        # as often as it likes: that is sent by the event loop.
        if asyncio.current_task() is not None:
            self._left = MOST_RECEIVED

    def _count(self, received: int) -> None:
        self._left -= received
        if self._left < 0:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
