"""Listening addresses as Prometheus writes them: ``:10145``, ``127.0.0.1:0``, ``[::1]:10145``."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any


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
    host: str,
    port: int,
    flag: str = "--web.listen-address",
    create: Callable[..., socket.socket] = socket.create_server,
    resolve: Callable[..., list[Any]] = socket.getaddrinfo,
) -> socket.socket:
    """A listening socket. No host, and ``::``, are every interface, over IPv6 and IPv4.

    Of a name's addresses an IPv4 one is taken if there is any, as Go does. Raises ``OSError`` that says what
    to do, in terms of ``flag``.
    """
    try:
        if host in ("", "::"):
            return _on_every_interface(port, create)
        found = resolve(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        return create(address, family=family, backlog=128)
    except OSError as error:
        written = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise OSError(f"{flag}={written}: {_advice(error)}") from error


def _on_every_interface(port: int, create: Callable[..., socket.socket]) -> socket.socket:
    try:
        return create(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
        return create(("0.0.0.0", port), backlog=128)  # noqa: S104 - every interface was asked for


_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def _advice(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host is known here: write an address of this machine, or no host for all"
    return {
        errno.EADDRINUSE: "the address is in use: stop the program that listens there, or write another port",
        errno.EACCES: "not allowed: write a port from 1024 on",
        errno.EADDRNOTAVAIL: "this machine has no such address: write one of its own, or no host for all",
    }.get(error.errno or 0, error.strerror or str(error))


def url_of(sock: socket.socket, scheme: str = "http") -> str:
    """The URL under which a person on this machine reaches the socket."""
    host, port = sock.getsockname()[:2]
    if host in ("::", "0.0.0.0"):  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
