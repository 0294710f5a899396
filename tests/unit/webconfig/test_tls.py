"""TLS and client certificates: real handshakes with what the file says."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import MutableMapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import trustme
from structlog.testing import capture_logs

from exporter.web.server import HANDSHAKES
from exporter.webconfig import load
from tests.processes import PATIENCE
from tests.unit.webconfig.door import Door, Keys, run, until

REFUSED = (aiohttp.ClientConnectionError, ssl.SSLError)
"""With TLS 1.3 a client learns only after its handshake that its certificate was refused."""

MUTUAL = "client_ca_file: clients.crt\nclient_auth_type: RequireAndVerifyClientCert"
IF_GIVEN = "client_ca_file: clients.crt\nclient_auth_type: VerifyClientCertIfGiven"
OLD = ssl.TLSVersion.TLSv1_2
NEW = ssl.TLSVersion.TLSv1_3


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


async def refused(door: Door, client: ssl.SSLContext) -> bool:
    with contextlib.suppress(*REFUSED):
        await door.knock(client)
        return False
    return True


class Shaken(NamedTuple):
    session: ssl.SSLSession | None
    reused: bool | None
    answer: bytes


def shake(door: Door, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Shaken:
    """A handshake and the answer's first byte, for what the HTTP client does not tell."""
    with (
        socket.create_connection(("127.0.0.1", door.port)) as sock,
        client.wrap_socket(sock, server_hostname="127.0.0.1", session=session) as tls,
    ):
        tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = tls.recv(1)
        return Shaken(tls.session, tls.session_reused, answer)


def agreed(keys: Keys, path: Path, client: ssl.SSLContext) -> tuple[str, str] | None:
    """Version and cipher suite that a handshake ended with; None if it failed."""
    found: list[tuple[str, str] | None] = []

    def look(door: Door) -> tuple[str, str] | None:
        with (
            contextlib.suppress(ssl.SSLError, ConnectionError),
            socket.create_connection(("127.0.0.1", door.port)) as sock,
            client.wrap_socket(sock, server_hostname="127.0.0.1") as tls,
        ):
            cipher = tls.cipher()
            assert cipher
            return tls.version() or "", cipher[0]
        return None

    async def talk(door: Door) -> None:
        found.append(await asyncio.to_thread(look, door))

    run(path, talk)
    return found[0]


def test_https_is_spoken_and_nothing_else(keys: Keys) -> None:
    async def talk(door: Door) -> None:
        assert door.url.startswith("https://127.0.0.1:")
        assert (await door.knock(keys.client()))[0] == 200
        door.url = door.url.replace("https", "http")
        for _ in range(2):
            async with aiohttp.ClientSession() as session, session.get(door.url) as response:
                assert response.status == 400
                assert "https://" in await response.text()
        assert door.inside == 1

    with capture_logs() as logs:
        run(keys.config(), talk)
    assert failed_handshakes(logs) == [
        ("info", "the client does not speak TLS"),
        ("debug", "the client does not speak TLS"),
    ]


def failed_handshakes(logs: list[MutableMapping[str, Any]]) -> list[tuple[str, str]]:
    assert {entry["address"] for entry in logs if entry["event"] == "handshake_failed"} <= {"127.0.0.1"}
    return [(entry["log_level"], entry["reason"]) for entry in logs if entry["event"] == "handshake_failed"]


def test_each_reason_of_a_refused_handshake_is_logged_at_info_once_a_minute(keys: Keys) -> None:
    async def talk(door: Door) -> None:
        stranger = keys.client("prometheus", ca=trustme.CA())
        for _ in range(3):
            assert await refused(door, keys.client())
            assert await refused(door, stranger)
        assert door.inside == 0

    with capture_logs() as logs:
        run(keys.config(MUTUAL), talk)
    levels: dict[str, list[str]] = {}
    for level, reason in failed_handshakes(logs):
        levels.setdefault(reason, []).append(level)
    for reason in ("did not return a certificate", "certificate verify failed"):
        (said,) = (levels[full] for full in levels if reason in full)
        assert (said.count("info"), said[0]) == (1, "info")
        assert said.count("debug") >= 2


def test_who_breaks_off_a_handshake_is_logged(keys: Keys) -> None:
    async def talk(door: Door) -> None:
        with socket.create_connection(("127.0.0.1", door.port)) as client:
            client.sendall(b"\x16")
        assert (await door.knock(keys.client()))[0] == 200

    with capture_logs() as logs:
        run(keys.config(), talk)
    assert failed_handshakes(logs) == [("info", "the client broke off")]


def test_who_connects_and_leaves_is_not_logged(keys: Keys) -> None:
    async def talk(door: Door) -> None:
        socket.create_connection(("127.0.0.1", door.port)).close()
        assert (await door.knock(keys.client()))[0] == 200

    with capture_logs() as logs:
        run(keys.config(), talk)
    assert failed_handshakes(logs) == []


def test_certificate_key_and_ca_may_stand_in_the_file(keys: Keys, tmp_path: Path) -> None:
    def block(name: str, file: str) -> str:
        text = (tmp_path / file).read_text().replace("\n", "\n    ")
        return f"  {name}: |\n    # примечание\n    {text.rstrip(' ')}"

    path = tmp_path / "inline.yaml"
    parts = [block("cert", "server.crt"), block("key", "server.key"), block("client_ca", "clients.crt")]
    path.write_text(
        "tls_server_config:\n" + "".join(parts) + "  client_auth_type: RequireAndVerifyClientCert\n"
    )

    async def talk(door: Door) -> None:
        assert (await door.knock(keys.client("prometheus")))[0] == 200
        assert await refused(door, keys.client())

    run(path, talk)
    assert "BEGIN" not in repr(load(path))


def test_a_client_must_have_a_certificate_from_the_ca(keys: Keys) -> None:
    async def talk(door: Door) -> None:
        assert (await door.knock(keys.client("prometheus")))[0] == 200
        assert await refused(door, keys.client())
        assert await refused(door, keys.client("prometheus", ca=trustme.CA()))
        assert door.inside == 1

    run(keys.config(MUTUAL), talk)


def test_a_client_may_have_a_certificate_but_only_from_the_ca(keys: Keys) -> None:
    async def talk(door: Door) -> None:
        assert (await door.knock(keys.client()))[0] == 200
        assert (await door.knock(keys.client("prometheus")))[0] == 200
        assert await refused(door, keys.client("prometheus", ca=trustme.CA()))
        assert door.inside == 2

    run(keys.config(IF_GIVEN), talk)


def test_an_intermediate_ca_is_trusted_without_its_root_as_in_go(keys: Keys) -> None:
    intermediate = keys.clients.create_child_ca()
    keys.trust(intermediate)

    async def talk(door: Door) -> None:
        assert (await door.knock(keys.client("prometheus", ca=intermediate)))[0] == 200
        assert await refused(door, keys.client("prometheus"))

    run(keys.config(MUTUAL), talk)


def test_only_allowed_names_come_through(keys: Keys) -> None:
    async def talk(door: Door) -> None:
        for names in (["x", "prometheus.internal"], ["10.0.0.7"], ["::1"], ["ops@example.com"]):
            assert (await door.knock(keys.client(*names)))[0] == 200
        assert door.inside == 4
        for names in (["other.internal"], ["10.0.0.8"], ["sub.prometheus.internal"]):
            assert (await door.knock(keys.client(*names)))[0] == 403
        assert await refused(door, keys.client())
        assert door.inside == 4

    sans = "client_allowed_sans: [prometheus.internal, 10.0.0.7, '::1', ops@example.com]"
    run(keys.config(f"{MUTUAL}\n{sans}"), talk)


@pytest.mark.parametrize(
    ("lines", "least", "greatest", "version"),
    [
        ("", OLD, NEW, "TLSv1.3"),
        ("", OLD, OLD, "TLSv1.2"),
        ("min_version: TLS10", OLD, OLD, "TLSv1.2"),
        ("min_version: TLS13", OLD, OLD, None),
        ("max_version: TLS12", OLD, NEW, "TLSv1.2"),
        ("max_version: TLS12", NEW, NEW, None),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]", OLD, OLD, None),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]", OLD, NEW, "TLSv1.3"),
    ],
)
def test_versions(
    keys: Keys, lines: str, least: ssl.TLSVersion, greatest: ssl.TLSVersion, version: str | None
) -> None:
    client = keys.client()
    client.minimum_version, client.maximum_version = least, greatest
    found = agreed(keys, keys.config(lines), client)
    assert (found and found[0]) == version


SUITES = (
    "[TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "
    "TLS_AES_128_GCM_SHA256]"
)


@pytest.mark.parametrize(
    ("prefer", "wanted", "cipher"),
    [
        (
            "true",
            "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
        (
            "no",
            "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ),
        ("true", "ECDHE-ECDSA-CHACHA20-POLY1305", None),
    ],
)
def test_cipher_suites_by_the_names_that_go_has(
    keys: Keys, prefer: str, wanted: str, cipher: str | None
) -> None:
    client = keys.client()
    client.maximum_version = OLD
    client.set_ciphers(wanted)
    found = agreed(
        keys, keys.config(f"cipher_suites: {SUITES}\nprefer_server_cipher_suites: {prefer}"), client
    )
    assert found == (cipher and ("TLSv1.2", cipher))


@pytest.mark.parametrize(("curve", "agrees"), [("secp384r1", True), ("prime256v1", False)])
def test_a_curve(keys: Keys, curve: str, agrees: bool) -> None:
    client = keys.client()
    client.set_ecdh_curve(curve)
    assert (agreed(keys, keys.config("curve_preferences: [CurveP384]"), client) is not None) is agrees


def test_no_renegotiation_and_no_compression(keys: Keys) -> None:
    tls = load(keys.config()).tls
    assert tls
    assert tls.context.options & ssl.OP_NO_RENEGOTIATION
    assert tls.context.options & ssl.OP_NO_COMPRESSION


def test_a_client_that_never_shakes_hands_is_dropped_and_holds_up_nobody(keys: Keys) -> None:
    async def talk(door: Door) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        assert (await door.knock(keys.client()))[0] == 200
        async with asyncio.timeout(PATIENCE / 2):
            assert await reader.read() == b""
        writer.close()

    with capture_logs() as logs:
        run(keys.config(), talk, handshake_timeout=0.3)
    assert "handshake" in next(entry["reason"] for entry in logs if entry["event"] == "handshake_failed")


def test_clients_that_never_shake_hands_make_room_for_the_next(keys: Keys) -> None:
    async def talk(door: Door) -> None:
        async with contextlib.AsyncExitStack() as stack:
            silent = []
            for _ in range(HANDSHAKES + 1):
                reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
                stack.callback(writer.close)
                silent.append(reader)
            assert (await door.knock(keys.client()))[0] == 200
            assert await silent[0].read() == b""
            assert not silent[-1].at_eof()

    run(keys.config(), talk)


def test_clients_in_the_middle_of_a_handshake_do_not_delay_the_end(keys: Keys) -> None:
    clients: list[socket.socket] = []

    async def talk(door: Door) -> None:
        clients.append(socket.create_connection(("127.0.0.1", door.port)))
        clients[0].sendall(b"\x16")
        assert (await door.knock(keys.client()))[0] == 200

    run(keys.config(), talk)
    with clients[0] as client:
        assert client.recv(1) == b""


def test_when_no_connection_can_be_accepted_it_is_tried_again(keys: Keys) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def talk(door: Door) -> None:
        await asyncio.to_thread(lambda: None)
        client = socket.socket()
        with socket.socket() as lowest_free:
            free = lowest_free.fileno()
        with capture_logs() as logs:
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                client.connect(("127.0.0.1", door.port))

                async def warned() -> bool:
                    return any(entry.get("url") == door.url for entry in logs)

                await until(warned, "a warning")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        client.close()
        assert (await door.knock(keys.client()))[0] == 200

    run(keys.config(), talk)


# --- while it runs ----------------------------------------------------------------------------------------


def test_a_certificate_swapped_under_load_fails_no_scrape(keys: Keys) -> None:
    async def talk(door: Door) -> None:
        client = keys.client()
        first = await asyncio.to_thread(serial_of, door, client)
        ending = False
        statuses: list[int] = []

        async def scrape() -> None:
            while not ending:
                statuses.append((await door.knock(client))[0])

        async def scraped(count: int) -> bool:
            return len(statuses) >= count

        scrapers = [asyncio.ensure_future(scrape()) for _ in range(4)]
        seen = {first}
        for _ in range(3):
            keys.renew()
            door.reload()
            shown = await asyncio.to_thread(serial_of, door, client)
            assert shown not in seen
            seen.add(shown)
            await until(partial(scraped, len(statuses) + 4), "scrapes with it")
        ending = True
        await asyncio.gather(*scrapers)
        assert set(statuses) == {200}
        assert len(statuses) > 10

    run(keys.config(), talk)


def serial_of(door: Door, client: ssl.SSLContext) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", door.port)) as sock,
        client.wrap_socket(sock, server_hostname="127.0.0.1") as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def test_a_ca_that_is_no_longer_trusted_lets_nobody_in_not_even_by_an_old_session(keys: Keys) -> None:
    client = keys.client("prometheus")
    client.maximum_version = OLD  # whose sessions Python's client can resume

    async def talk(door: Door) -> None:
        first = await asyncio.to_thread(shake, door, client)
        assert (first.reused, first.answer) == (False, b"H")
        again = await asyncio.to_thread(shake, door, client, first.session)
        assert (again.reused, again.answer) == (True, b"H")
        successor = trustme.CA()
        keys.trust(successor)
        door.reload()
        assert not await refused(door, keys.client("prometheus", ca=successor))
        assert await refused(door, client)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.to_thread(shake, door, client, first.session)

    run(keys.config(MUTUAL), talk)


def test_client_certificates_may_be_demanded_while_it_runs(keys: Keys) -> None:
    async def talk(door: Door) -> None:
        assert (await door.knock(keys.client()))[0] == 200
        keys.config(MUTUAL)
        door.reload()
        assert await refused(door, keys.client())
        assert (await door.knock(keys.client("prometheus")))[0] == 200

    run(keys.config(), talk)
