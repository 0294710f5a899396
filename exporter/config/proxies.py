"""Finds the proxy for an address: the one in the file, or the one in the environment.

``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` mean what they mean to programs written in Go, such as
Prometheus: https://pkg.go.dev/golang.org/x/net/http/httpproxy. In one thing they differ: a variable that
holds no usable proxy is an error here. Go goes without a proxy then, and nobody notices.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from exporter.model import Proxy
from exporter.secret import SecretStr, split_url

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = {"http": 80, "https": 443}
_WRITE = "write http://host:port"
_ENCODE = "write a user or password with special characters as in a URL, such as %40 for @"


def proxy_at(text: str) -> Proxy:
    """The proxy at a URL, which may hold a user and a password.

    Raises ValueError without repeating anything of the URL.
    """
    parts, port = split_url(text, f"{_WRITE}, and {_ENCODE}")
    if parts.scheme.startswith("socks"):
        raise ValueError(f"is a SOCKS proxy, which is not supported: {_WRITE} of an HTTP proxy")
    name = parts.hostname or ""
    if parts.scheme not in _PORTS or not re.fullmatch(r"[\w.-]+|[0-9a-f:.]+", name):
        raise ValueError(f"is not a proxy's address: {_WRITE}")
    if parts.path.strip("/") or parts.query or parts.fragment or re.search(r"[\s\\]", parts.netloc):
        raise ValueError(f"must end with the host and port: {_WRITE}, and {_ENCODE}")
    host = f"[{name}]" if ":" in name else name
    url = f"{parts.scheme}://{host}:{port or _PORTS[parts.scheme]}"
    if parts.username is None:
        return Proxy(url)
    return Proxy(url, SecretStr(unquote(parts.username)), SecretStr(unquote(parts.password or "")))


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for ``url``, None where none is named or ``NO_PROXY`` excludes the address.

    Raises ValueError when the variable holds no usable proxy.
    """
    parts = urlsplit(url)
    name, text = _variable(f"{parts.scheme.upper()}_PROXY", environ)
    if not text or _is_excluded(parts, _variable("NO_PROXY", environ)[1]):
        return None
    try:
        return proxy_at(text if "://" in text else f"http://{text}")
    except ValueError as error:
        raise ValueError(f"the environment variable {name} {error}; or set proxy: none here") from None


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable in capitals, or else in small letters: its name and value."""
    found = name if environ.get(name) else name.lower()
    return found, environ.get(found, "")


def _is_excluded(parts: SplitResult, no_proxy: str) -> bool:
    host = _ascii(parts.hostname or "")
    ip = _ip(host)
    if host == "localhost" or (ip and ip.is_loopback):
        return True
    port = str(parts.port or _PORTS[parts.scheme])
    entries = (entry.strip().lower() for entry in no_proxy.split(","))
    return any(_matches(entry, host, ip, port) for entry in entries)


def _matches(entry: str, host: str, ip: Address | None, port: str) -> bool:
    """Whether one entry of ``NO_PROXY`` covers a host, by name or address, at a port."""
    if entry == "*":
        return True
    if (network := _network(entry)) is not None:
        return ip is not None and ip in network
    name, its_port = _host_and_port(entry)
    if not name or its_port not in ("", port):
        return False
    if (its_ip := _ip(name)) is not None:
        return ip == its_ip
    return _is_within(host, name)


def _is_within(host: str, name: str) -> bool:
    """Whether the name covers the host: ``a.b`` covers itself and ``x.a.b``, ``.a.b`` only the latter."""
    domain = _ascii(name.removeprefix("*") if name.startswith("*.") else name)
    return host.endswith(domain) if domain.startswith(".") else f".{host}".endswith(f".{domain}")


def _host_and_port(entry: str) -> tuple[str, str]:
    """The entry's host, and its port if it names one. Colons are an IPv6 address's, outside brackets."""
    host, _, port = entry.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], port
    return (entry, "") if ":" in host or ":" not in entry else (host, port)


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if not re.search("/[0-9]+$", entry):
        return None
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _ip(host: str) -> Address | None:
    """The address that ``host`` is; an IPv4 address within IPv6 is one of IPv4."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _ascii(name: str) -> str:
    """An international name as DNS has it (RFC 5890). Any other name is unchanged."""
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name
