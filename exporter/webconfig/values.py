"""What a single value of the web configuration may be.

As in ``exporter.config.values``, each function takes what stands in the file, returns what it means, and
raises ValueError with a sentence that says what to write.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import bcrypt

from exporter.config.document import quote
from exporter.config.values import address, closest, name, plain_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sized

CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
}
"""The suites of TLS 1.2 that Go's tls.CipherSuites() lists, and what OpenSSL calls them (its ciphers(1))."""

CIPHERS_13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""Those of TLS 1.3. Neither Go nor Python lets one choose among them: they are always there."""

CURVES = {"X25519": "X25519", "CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1"}
"""Go's names of curves, and OpenSSL's."""

VERSIONS = ("TLS10", "TLS11", "TLS12", "TLS13")

VERIFYING = ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
_TRUSTING = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")

_YES = frozenset({"true", "yes", "on", "y"})
_NO = frozenset({"false", "no", "off", "n"})
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(rf"([0-9]+\.?[0-9]*|\.[0-9]+)({'|'.join(_SECONDS)})")
_COSTLY = 15
_LONGEST = 86_400.0
_LONGEST_DURATION = 100  # characters
_HASH = re.compile(r"\$(2[abxy]?)\$([0-9]{2})\$[./A-Za-z0-9]{53}")


def known(names: Collection[str], what: str) -> Callable[[object], str]:
    """Takes one of ``names`` as it is written there; ``what`` says what they are the names of."""

    def choose(value: object) -> str:
        text = plain_text(value)
        if text in names:
            return text
        near = closest(text, set(names))
        advice = f"did you mean {quote(near)}?" if near else f"write {_one_of(list(names))}"
        raise ValueError(f"{quote(text)} is not {what}: {advice}")

    return choose


def _one_of(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def boolean(value: object) -> bool:
    """``true`` or ``false``, or another word that YAML 1.1 has for them."""
    text = plain_text(value)
    if text.casefold() in _YES | _NO:
        return text.casefold() in _YES
    raise ValueError(f"{quote(text)} is not a boolean: write true or false")


def client_auth(value: object) -> str:
    """What the port asks of a client's certificate. Python's ssl accepts none that it has not checked."""
    text = plain_text(value)
    if text in _TRUSTING:
        raise ValueError(
            f"{text} accepts certificates without checking them, which is not supported: "
            f"write {_one_of(list(VERIFYING))}"
        )
    return known(("NoClientCert", *VERIFYING), "a way to ask for certificates")(value)


least_version = known(VERSIONS, "a version")


def greatest_version(value: object) -> str:
    """The greatest version of TLS; older ones than 1.2 are not spoken here (RFC 8996)."""
    text = least_version(value)
    if text in ("TLS10", "TLS11"):
        raise ValueError(f"{text} is not secure and not supported: write TLS12 or TLS13")
    return text


def doubt_of_version(version: str) -> str | None:
    """What the lowest version really is."""
    if version in ("TLS10", "TLS11"):
        return f"{version} is not secure and not supported: TLS12 is used as the lowest version"
    return None


def doubt_of_http2(wanted: bool) -> str | None:
    """That HTTP/2 is not spoken."""
    return "HTTP/2 is not supported: clients use HTTP/1.1" if wanted else None


def one_curve(curves: Sized) -> None:
    """A list of one curve: Python's ssl sets a single one."""
    if len(curves) != 1:
        raise ValueError(
            "only one curve can be set here: write one, or remove the key for OpenSSL's own choice"
        )


def user(value: object) -> str:
    """A user's name. HTTP ends it at the first colon (RFC 7617)."""
    text = name(value)
    if ":" in text:
        raise ValueError("contains a colon, where HTTP ends the name: remove it")
    return text


def users(found: Sized) -> None:
    """The users, at least one. A file that lets everybody in should leave out the key."""
    if not found:
        raise ValueError("names no user: write a user and a bcrypt hash, or remove the key")


def password_hash(value: object) -> str:
    """A bcrypt hash. No message repeats it."""
    text = plain_text(value)
    match = _HASH.fullmatch(text)
    if match is None:
        raise ValueError("is not a bcrypt hash: write what htpasswd -nBC 10 prints after the colon")
    if match[1] == "2":
        raise ValueError("is a hash of bcrypt's first version, $2$, which cannot be checked: make it again")
    if not 4 <= int(match[2]) <= 31:
        raise ValueError("has a cost outside 4 to 31: make the hash again, with 10")
    try:
        # The cheapest cost takes a millisecond and tells whether the rest can be read.
        bcrypt.checkpw(b"", f"${match[1]}$04{text[text.rindex('$') :]}".encode())
    except ValueError:
        raise ValueError("is a damaged bcrypt hash: copy it again, or make another") from None
    return text


def doubt_of_hash(hashed: str) -> str | None:
    """That the hash takes longer to check than a client waits. Each cost more doubles the time."""
    cost = int(hashed.split("$")[2])
    if cost >= _COSTLY:
        return f"a bcrypt cost of {cost} takes seconds for each login: 10 is usual"
    return None


def go_duration(value: object) -> float:
    """A duration as Go writes it (its time.ParseDuration), in seconds: ``1.5s``, ``1m30s``; at most a day."""
    text = plain_text(value)
    if text == "0":
        return 0.0
    parts = _PART.findall(text) if len(text) <= _LONGEST_DURATION else []
    if not parts or "".join(count + unit for count, unit in parts) != text:
        raise ValueError(f"{quote(text)} is not a duration: write one such as 1s, 100ms or 1m30s")
    seconds = sum(float(count) * _SECONDS[unit] for count, unit in parts)
    if seconds > _LONGEST:
        raise ValueError(f"{quote(text)} is too long: write 24h or less")
    return seconds


def count(value: object) -> int:
    """A whole number, 0 included."""
    text = plain_text(value)
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError(f"{quote(text)} is not a whole number: write one such as 20")
    return int(text)


def header(value: object) -> str:
    """The value of a response header: ASCII, as HTTP has it (RFC 9110)."""
    text = address(value)
    if not text.isascii():
        raise ValueError("contains characters that are not ASCII: remove them")
    return text
