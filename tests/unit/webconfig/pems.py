"""Certificates and keys, good and bad, made anew for each run."""

from __future__ import annotations

import datetime
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

CERTIFICATE = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n"


def chain(certificate: trustme.LeafCert) -> str:
    return "".join(pem.bytes().decode() for pem in certificate.cert_chain_pems)


def key(certificate: trustme.LeafCert) -> str:
    return certificate.private_key_pem.bytes().decode()


def authority(ca: trustme.CA) -> str:
    return ca.cert_pem.bytes().decode()


def write(folder: Path, certificate: trustme.LeafCert, name: str = "server") -> None:
    (folder / f"{name}.crt").write_text(chain(certificate))
    (folder / f"{name}.key").write_text(key(certificate))


def write_all(folder: Path) -> None:
    """Everything that the files in ``bad`` name."""
    ca = trustme.CA()
    server = ca.issue_cert("localhost")
    write(folder, server)
    write(folder, ca.issue_cert("localhost"), "other")
    write(folder, trustme.CA().issue_cert("localhost", key_type=trustme.KeyType.RSA), "rsa")
    (folder / "ca.crt").write_text(authority(ca))
    (folder / "broken.crt").write_text(CERTIFICATE.format("AAAA"))
    (folder / "broken.key").write_text(KEY.format("AAAA"))
    (folder / "binary.crt").write_bytes(b"\x30\x82\xff\xfe")
    locked = serialization.load_pem_private_key(key(server).encode(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hunter2"),
    )
    (folder / "locked.key").write_bytes(locked)
    _write_weak(folder)


def _write_weak(folder: Path) -> None:
    """A certificate signed by itself, with a key that was long enough in 2005."""
    private = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1, begin, begin.replace(year=2120))
    certificate = builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "weak.crt").write_bytes(certificate)
    plain = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "weak.key").write_bytes(plain)
