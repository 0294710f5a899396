"""Passwords and headers, over real connections."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path

import bcrypt
import pytest
from structlog.testing import capture_logs

from exporter.web.connections import MAX_KEYS, OncePerMinute
from exporter.web.passwords import MOST_FAILURES, MOST_WAITING, Passwords
from exporter.web.queueing import MAX_BLAMED, BusyError, FairQueue, client_of
from exporter.webconfig import load
from tests.unit.webconfig.door import ALICE, LONG, Door, basic, run
from tests.virtual import VirtualClock

USERS = f"basic_auth_users:\n  alice: {ALICE}\n  long: {LONG}\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "web.yaml"
        path.write_text(text)
        return path

    return write


WRONG: dict[str, tuple[str | bytes, str | bytes]] = {
    "another password": ("alice", "Wonderland"),
    "a password too many": ("alice", "wonderland "),
    "no password": ("alice", ""),
    "unknown user": ("bob", "wonderland"),
    "no user": ("", "wonderland"),
    "another user's password": ("long", "wonderland"),
    "73 bytes, the first 72 of them right": ("long", "x" * 73),
    "very many bytes": ("long", "x" * 5000),
    "a zero byte": ("alice", "wonder\0land"),
    "not UTF-8": (b"\xff", b"\xfe\xff"),
}


def test_who_is_let_in(write: Callable[[str], Path]) -> None:
    async def talk(door: Door) -> None:
        assert (await door.knock(login=("alice", "wonderland")))[0] == 200
        assert (await door.knock(login=("long", "x" * 72)))[0] == 200
        assert door.inside == 2
        for name, login in WRONG.items():
            for _ in range(2):  # the second answer is remembered
                status, headers = await door.knock(login=login)
                assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="smsc-exporter"'), name
        assert (await door.knock(login=("alice", "wonderland"), path="/nowhere"))[0] == 404
        assert (await door.knock(path="/nowhere"))[0] == 401
        assert door.inside == 3

    run(write(USERS), talk)


@pytest.mark.parametrize("version", ["2a", "2b", "2x", "2y"])
def test_every_version_of_a_hash_that_is_taken_lets_its_user_in(
    write: Callable[[str], Path], version: str
) -> None:
    async def talk(door: Door) -> None:
        assert (await door.knock(login=("alice", "wonderland")))[0] == 200
        assert (await door.knock(login=("alice", "Wonderland")))[0] == 401

    run(write(USERS.replace("$2b$", f"${version}$")), talk)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic YWxpY2U=",  # no colon in it
        "Basic YWxpY2U6d29uZGVybGFuZA",  # not padded
        "Basic ё",
        "Bearer YWxpY2U6d29uZGVybGFuZA==",
        "YWxpY2U6d29uZGVybGFuZA==",
    ],
)
def test_a_header_that_is_no_login_is_401(write: Callable[[str], Path], header: str) -> None:
    async def talk(door: Door) -> None:
        status, headers = await door.knock(Authorization=header)
        assert (status, "WWW-Authenticate" in headers) == (401, True)

    run(write(USERS), talk)


def test_the_schemes_name_may_be_written_in_any_case(write: Callable[[str], Path]) -> None:
    async def talk(door: Door) -> None:
        token = base64.b64encode(b"alice:wonderland").decode()
        assert (await door.knock(Authorization=f"bASIC  {token}"))[0] == 200

    run(write(USERS), talk)


def test_a_flood_of_wrong_logins_delays_no_scrape(write: Callable[[str], Path]) -> None:
    hashed = bcrypt.hashpw(b"wonderland", bcrypt.gensalt(8)).decode()  # about 12 ms a check

    async def talk(door: Door) -> None:
        alice = ("alice", "wonderland")
        assert (await door.knock(login=alice))[0] == 200
        flood = [
            asyncio.ensure_future(door.knock(login=("alice", f"guess {n}"))) for n in range(MOST_WAITING + 8)
        ]
        for _ in range(10):
            assert (await door.knock(login=alice))[0] == 200
        assert not all(guess.done() for guess in flood)
        statuses = [status for status, _ in await asyncio.gather(*flood)]
        assert set(statuses) <= {401, 503}
        assert statuses.count(401) >= MOST_WAITING
        assert door.inside == 11

    run(write(f"basic_auth_users: {{alice: {hashed}}}\n"), talk)


HEADERS = """
http_server_config:
  http2: no
  headers:
    X-Frame-Options: deny
    Strict-Transport-Security: max-age=31536000
"""


def test_headers_are_on_every_response(write: Callable[[str], Path]) -> None:
    async def talk(door: Door) -> None:
        login = ("alice", "wonderland")
        answers = [
            await door.knock(login=login),
            await door.knock(),
            await door.knock(login=login, path="/nowhere"),
            await door.knock(login=login, path="/crash"),
        ]
        assert [status for status, _ in answers] == [200, 401, 404, 500]
        for _, headers in answers:
            assert headers["X-Frame-Options"] == "deny"
            assert headers["Strict-Transport-Security"] == "max-age=31536000"
            assert "X-XSS-Protection" not in headers

    run(write(USERS + HEADERS), talk, clock=VirtualClock())


# --- what is remembered -----------------------------------------------------------------------------------


class Checks:
    """Counts the checks; the right password is the hash itself."""

    def __init__(self) -> None:
        self.hashes: list[bytes] = []

    def __call__(self, password: bytes, hashed: bytes) -> bool:
        self.hashes.append(hashed)
        return password == hashed


def with_passwords(talk: Callable[[Passwords, Checks], Awaitable[None]]) -> None:
    async def main() -> None:
        checks = Checks()
        passwords = Passwords(checks)
        await talk(passwords, checks)
        assert b"secret" not in repr(vars(passwords)).encode()
        passwords.close()

    asyncio.run(main())


async def accept(
    passwords: Passwords, users: dict[str, bytes], authorization: str, client: str = "192.0.2.1"
) -> bool:
    return await passwords.accept(users, authorization, client)


THREE = {"a": b"secret 1", "b": b"secret 2", "c": b"secret 3"}


def test_an_unknown_user_costs_one_check_against_somebodys_hash_and_is_never_let_in() -> None:
    async def talk(passwords: Passwords, checks: Checks) -> None:
        names = [f"user {n}" for n in range(50)]
        for name in names:
            for secret in THREE.values():
                assert not await accept(passwords, THREE, basic(name, secret))
        assert len(checks.hashes) == 150
        assert set(checks.hashes) == set(THREE.values())
        # the same hash for the same name, as a user would have
        assert all(len(set(checks.hashes[at : at + 3])) == 1 for at in range(0, 150, 3))

    with_passwords(talk)


def test_outcomes_are_remembered_for_as_long_as_the_hash_stays() -> None:
    async def talk(passwords: Passwords, checks: Checks) -> None:
        for _ in range(3):
            assert await accept(passwords, THREE, basic("a", "secret 1"))
            assert not await accept(passwords, THREE, basic("b", "secret 1"))
        assert len(checks.hashes) == 2
        assert not await accept(passwords, {"a": b"secret 9"}, basic("a", "secret 1"))
        assert await accept(passwords, {"b": b"secret 1"}, basic("b", "secret 1"))
        assert len(checks.hashes) == 4

    with_passwords(talk)


def test_wrong_logins_are_forgotten_before_right_ones() -> None:
    async def talk(passwords: Passwords, checks: Checks) -> None:
        assert await accept(passwords, THREE, basic("a", "secret 1"))
        for n in range(MOST_FAILURES + 1):
            assert not await accept(passwords, THREE, basic("a", f"guess {n}"))
        checks.hashes.clear()
        assert await accept(passwords, THREE, basic("a", "secret 1"))
        assert not await accept(passwords, THREE, basic("a", "guess 1"))
        assert checks.hashes == []
        assert not await accept(passwords, THREE, basic("a", "guess 0"))
        assert checks.hashes == [b"secret 1"]

    with_passwords(talk)


def test_what_is_remembered_is_bounded_whoever_comes_and_goes() -> None:
    async def talk(passwords: Passwords, checks: Checks) -> None:
        for n in range(MOST_FAILURES + 100):
            for secret in THREE.values():
                assert not await accept(passwords, THREE, basic(f"unknown {n}", secret))
            users = {f"user {n}": b"secret 4"}
            assert await accept(passwords, users, basic(f"user {n}", "secret 4"))
        kept = [each for each in vars(passwords).values() if isinstance(each, dict)]
        assert sum(map(len, kept)) <= MOST_FAILURES + 1

    with_passwords(talk)


def test_who_comes_is_let_in_and_who_goes_is_not_whatever_was_found_before() -> None:
    async def talk(passwords: Passwords, checks: Checks) -> None:
        alone, both = {"a": b"secret 1"}, {"a": b"secret 1", "b": b"secret 1"}
        for users, let_in in ((alone, False), (both, True), (alone, False), (both, True)):
            assert await accept(passwords, users, basic("b", "secret 1")) is let_in

    with_passwords(talk)


def test_the_same_login_at_once_is_checked_once() -> None:
    async def talk(passwords: Passwords, checks: Checks) -> None:
        logins = (accept(passwords, THREE, basic("a", "secret 1")) for _ in range(MOST_WAITING))
        assert all(await asyncio.gather(*logins))
        assert checks.hashes == [b"secret 1"]

    with_passwords(talk)


def test_more_logins_than_can_be_checked_soon_are_turned_away() -> None:
    async def talk(passwords: Passwords, checks: Checks) -> None:
        logins = (accept(passwords, THREE, basic("a", f"guess {n}")) for n in range(MOST_WAITING + 8))
        outcomes = await asyncio.gather(*logins, return_exceptions=True)
        assert outcomes.count(False) == MOST_WAITING + 1  # one is checked at once
        assert sum(isinstance(outcome, BusyError) for outcome in outcomes) == 7
        assert not await accept(passwords, THREE, basic("a", "guess"))

    with_passwords(talk)


def test_a_flood_from_some_addresses_keeps_nobody_at_another_out() -> None:
    async def talk(passwords: Passwords, checks: Checks) -> None:
        async def flood(client: str) -> None:
            for n in range(30):
                guesses = (
                    accept(passwords, THREE, basic("a", f"{client} {n} {m}"), client) for m in range(10)
                )
                outcomes = await asyncio.gather(*guesses, return_exceptions=True)
                turned_away.extend(outcome for outcome in outcomes if isinstance(outcome, BusyError))

        turned_away: list[BusyError] = []
        floods = [asyncio.create_task(flood(f"198.51.100.{n}")) for n in range(10)]
        await asyncio.sleep(0)
        for name, secret in THREE.items():
            assert await accept(passwords, THREE, basic(name, secret), f"192.0.2.{name}")
        await asyncio.gather(*floods)
        assert turned_away

    with_passwords(talk)


# --- the queue --------------------------------------------------------------------------------------------


def in_turns(talk: Callable[[FairQueue, Callable[[str], asyncio.Task[None]]], Awaitable[None]]) -> list[str]:
    """Lets clients queue up, and says who was let in, one after the other."""
    order: list[str] = []

    async def main() -> None:
        queue = FairQueue(4)

        async def visit(address: str) -> None:
            async with queue.turn(address):
                order.append(address)
                await asyncio.sleep(0)

        await talk(queue, lambda address: asyncio.create_task(visit(address)))

    asyncio.run(main())
    return order


def test_who_waits_alone_at_an_address_gives_way_to_nobody_at_a_crowded_one() -> None:
    async def talk(queue: FairQueue, visit: Callable[[str], asyncio.Task[None]]) -> None:
        visits = [visit("first"), visit("alone"), *(visit("crowd") for _ in range(6))]
        outcomes = await asyncio.gather(*visits, return_exceptions=True)
        assert outcomes[:2] == [None, None]
        assert [type(outcome) for outcome in outcomes].count(BusyError) == 3

    order = in_turns(talk)
    assert order[0] == "first"
    assert sorted(order[1:]) == ["alone", "crowd", "crowd", "crowd"]


def test_the_addresses_that_were_blamed_least_come_first() -> None:
    async def talk(queue: FairQueue, visit: Callable[[str], asyncio.Task[None]]) -> None:
        for address, times in (("twice", 2), ("once", 1)):
            for _ in range(times):
                queue.blame(address)
        async with queue.turn("first"):
            visits = [visit(address) for address in ("twice", "once", "never", "once")]
            await asyncio.sleep(0)
        await asyncio.gather(*visits)

    assert in_turns(talk) == ["never", "once", "once", "twice"]


def test_only_so_many_addresses_are_blamed() -> None:
    async def talk(queue: FairQueue, visit: Callable[[str], asyncio.Task[None]]) -> None:
        queue.blame("forgotten")
        for n in range(MAX_BLAMED):
            queue.blame(f"remembered {n}")
        async with queue.turn("first"):
            visits = [visit(address) for address in ("remembered 1", "forgotten")]
            await asyncio.sleep(0)
        await asyncio.gather(*visits)

    assert in_turns(talk) == ["forgotten", "remembered 1"]


def test_who_is_cancelled_holds_up_nobody() -> None:
    async def talk(queue: FairQueue, visit: Callable[[str], asyncio.Task[None]]) -> None:
        async with queue.turn("first"):
            leaving = [visit("leaves") for _ in range(4)]
            await asyncio.sleep(0)
            for task in leaving:
                task.cancel()
            staying = [visit("stays") for _ in range(2)]
            await asyncio.sleep(0)
        await asyncio.gather(*staying)
        async with queue.turn("second"):
            chosen = visit("is cancelled when its turn has come")
            await asyncio.sleep(0)
        chosen.cancel()
        await asyncio.gather(*leaving, chosen, return_exceptions=True)
        await visit("last")

    assert in_turns(talk) == ["stays", "stays", "last"]


@pytest.mark.parametrize(
    ("remote", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, "::/64"),
    ],
)
def test_a_client_has_one_name(remote: str | None, client: str) -> None:
    assert client_of(remote) == client


# --- what is logged ---------------------------------------------------------------------------------------


def test_failed_logins_are_logged_once_a_minute_for_each_address(write: Callable[[str], Path]) -> None:
    clock = VirtualClock()

    async def talk(door: Door) -> None:
        assert (await door.knock())[0] == 401  # as a browser comes first: no login at all
        assert (await door.knock(login=("alice", "wonderland")))[0] == 200
        assert "login_failed" not in str(logs)
        for _ in range(2):
            assert (await door.knock(login=("alice", "Secret")))[0] == 401
            assert (await door.knock(login=("Secret", "wonderland")))[0] == 401
            clock.advance(60.0)

    with capture_logs() as logs:
        run(write(USERS), talk, clock=clock)
    failed = [entry for entry in logs if entry["event"] == "login_failed"]
    assert [(entry["log_level"], entry["address"]) for entry in failed] == [("warning", "127.0.0.1")] * 2
    assert "Secret" not in str(logs)


def test_no_more_is_logged_in_a_minute_than_a_person_can_read() -> None:
    clock = VirtualClock()
    once = OncePerMinute(clock)
    assert sum(once.allows(f"192.0.2.{n}") for n in range(2 * MAX_KEYS)) == MAX_KEYS
    clock.advance(60.0)
    assert once.allows("192.0.2.1")


def test_what_works_otherwise_than_it_is_written_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(
        f"http_server_config: {{http2: true}}\nbasic_auth_users:\n  alice: {ALICE.replace('04', '15')}\n"
    )
    warnings = [str(fault).removeprefix(str(path)) for fault in load(path).warnings]
    assert warnings == [
        ":1:29: http_server_config.http2: HTTP/2 is not supported: clients use HTTP/1.1",
        ":2:1: basic_auth_users: passwords are sent unencrypted: "
        "add tls_server_config, or keep the port inside your network",
        ':3:10: basic_auth_users["?"]: a bcrypt cost of 15 takes seconds for each login: 10 is usual',
    ]
    assert "$2b$" not in repr(load(path))
