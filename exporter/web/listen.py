"""Listening addresses as Prometheus writes them: ``:10145``, ``127.0.0.1:0``, ``[::1]:10145``."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def parse_address(text: str) -> tuple[str, int]:
    """Host (empty: every interface) and port. Raises ``ValueError`` that says what to write."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if (
        not colon
        or not (port.isascii() and port.isdigit())
        or int(port) > 65535
        or (":" in bare and bare == host)
    ):
        raise ValueError(
            f'"{text}" is not an address: write host:port, such as :10145, 127.0.0.1:10145 or [::1]:10145'
        )
    return bare, int(port)


def open_socket(
    host: str, port: int, create: Callable[..., socket.socket] = socket.create_server
) -> socket.socket:
    """A listening socket; an empty host listens on every interface, over IPv6 and IPv4 where there are both.

    Raises ``OSError`` if the address cannot be had. ``create`` is ``socket.create_server``.
    """
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return create((host, port), family=family, backlog=128)
    try:
        return create(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise
        # There is no IPv6 here.
        return create(("0.0.0.0", port), backlog=128)  # noqa: S104 - every interface was asked for


def url_of(sock: socket.socket, scheme: str = "http") -> str:
    """The URL under which a person on this machine reaches the socket."""
    host, port = sock.getsockname()[:2]
    if host in ("::", "0.0.0.0"):  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
