"""Who we are to Redis: user, password, permissions, TLS. None of that is ever shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from structlog.testing import capture_logs

from exporter.errors import StorageError
from exporter.journal import Appended
from exporter.journal.redis_script import PERMISSIONS
from exporter.journal.redis_wire import RefusedError, inspect
from exporter.secret import SecretStr
from tests import needs
from tests.processes import free_port
from tests.redis_servers import Server, redis_server
from tests.unit.journal.redis_places import LINK, RedisPlace, refused, scenario, sent, until, with_reading

pytestmark = needs.redis


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Server]:
    with redis_server(tmp_path, "--requirepass", "hunter2/@") as server:
        yield server


def with_password(server: Server, user: str, path: str = "") -> SecretStr:
    return SecretStr(f"redis://{user}@127.0.0.1:{server.port}{path}")


@scenario
async def test_a_password_that_is_right_is_never_shown(guarded: Server) -> None:
    place = RedisPlace(guarded)
    place.mature()
    with capture_logs() as events:
        replica = await place.open(with_password(guarded, ":hunter2%2F%40"))
        assert replica.journal.up
        guarded.kill()
        assert await replica.append(sent()) is Appended.NO
        await until(lambda: not replica.journal.up)
        await place.close(replica)
    shown = [repr(events), repr(replica.journal), repr(vars(replica.journal))]
    assert events
    assert not [text for text in shown if "hunter2" in text]


@pytest.mark.parametrize(
    ("user", "path", "reason"),
    [
        (":hunter3", "", "invalid username-password pair"),
        ("alex:hunter2%2F%40", "", "invalid username-password pair"),
        ("", "", "Authentication required"),
        (":hunter2%2F%40", "/99", "DB index is out of range"),
        ("weak:hunter4", "", "no permissions"),
    ],
)
@scenario
async def test_redis_refuses_us(guarded: Server, user: str, path: str, reason: str) -> None:
    guarded.look.acl_setuser("weak", enabled=True, passwords=["+hunter4"], categories=["-@all"])
    place = RedisPlace(guarded)
    with pytest.raises(StorageError, match=reason) as refusal:
        await place.open(with_password(guarded, user, path))
    await place.close(place.replicas[0])
    assert f"127.0.0.1:{guarded.port}" in str(refusal.value)
    assert "hunter" not in str(refusal.value)
    assert refusal.value.__suppress_context__


@pytest.mark.parametrize(
    ("permissions", "reason"),
    [
        ("~* +@all -info", "'info' command"),
        ("~* +@all -eval", "'eval' command"),
        ("~* +@all -xadd", "run this command"),
        ("~* +@all -hset", "run this command"),
        ("~* +@all -xtrim", "run this command"),
        ("~* +@all -xrange", "'xrange' command"),
        ("~other:* +@all", "keys"),
    ],
)
@scenario
async def test_a_permission_is_missing(guarded: Server, permissions: str, reason: str) -> None:
    guarded.look.execute_command("ACL", "SETUSER", "weak", "on", ">hunter4", *permissions.split())
    with pytest.raises(StorageError, match="refuses us: ") as refusal:
        await RedisPlace(guarded).open(with_password(guarded, "weak:hunter4"))
    assert reason in str(refusal.value)
    assert str(refusal.value).endswith(f"; the user needs {PERMISSIONS}")


@scenario
async def test_the_permissions_that_are_asked_for_suffice(guarded: Server) -> None:
    guarded.look.execute_command("ACL", "SETUSER", "weak", "on", ">hunter4", *PERMISSIONS.split())
    place = RedisPlace(guarded)
    place.mature()
    with capture_logs() as events:
        first, second = [await place.open(with_password(guarded, "weak:hunter4")) for _ in range(2)]
        one = sent()
        assert await first.append(one) is Appended.YES
        first.note(refused(one))
        first.note(with_reading(sent(), 1))
        await first.settled()
        await second.settled()
        assert [stored.total for stored in await second.read([LINK])] == [1]
        assert refused(one) in [dated.event for dated in second.listener.news]
        await place.close(first)
        await place.close(second)
    assert events == []


@scenario
async def test_tls(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    names = {name: tmp_path / f"{name}.pem" for name in ("ca", "stranger", "cert", "key")}
    authority.cert_pem.write_to_path(names["ca"])
    stranger.cert_pem.write_to_path(names["stranger"])
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(names["cert"])
    issued.private_key_pem.write_to_path(names["key"])
    options = ("--port", "0", "--tls-auth-clients", "no", "--tls-ca-cert-file", str(names["ca"]))
    files = ("--tls-cert-file", str(names["cert"]), "--tls-key-file", str(names["key"]))
    look = {"ssl": True, "ssl_ca_certs": str(names["ca"])}
    with redis_server(tmp_path, *options, *files, tls=look) as server:
        place = RedisPlace(server)
        for name, up in (("ca", True), ("stranger", False)):
            url = SecretStr(f"rediss://127.0.0.1:{server.port}?ssl_ca_certs={names[name]}")
            replica = await place.open(url)
            assert replica.journal.up is up
            await place.close(replica)


@scenario
async def test_nobody_is_there(guarded: Server) -> None:
    place = RedisPlace(guarded)
    with capture_logs() as events:
        replica = await place.open(SecretStr(f"redis://127.0.0.1:{free_port()}"))
    assert not replica.journal.up
    assert "Connect call failed" in events[0]["reason"] or "refused" in events[0]["reason"]
    await place.close(replica)


def test_a_server_that_is_too_old_is_refused() -> None:
    info = {"redis_version": "6.0.16", "role": "master", "maxmemory_policy": "noeviction", "maxmemory": 0}
    with pytest.raises(RefusedError, match=r"6\.0\.16 is too old: 6\.2 or newer is needed"):
        inspect(info)
    inspect({**info, "redis_version": "6.2.0"})
