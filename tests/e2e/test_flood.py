"""A flood of wrong passwords, right after a start: it keeps nobody else out."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
import bcrypt

from tests.processes import exporter
from tests.unit.webconfig.door import basic

ADDRESSES = [f"127.0.0.{n}" for n in range(2, 12)]
PASSWORD = "right"
GUESSES = 10
"""Requests at once from each address; more than may wait in all."""


async def flood(url: str, address: str, statuses: list[int]) -> None:
    connector = aiohttp.TCPConnector(local_addr=(address, 0), limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def guess(n: int) -> None:
            for m in range(1000):
                login = {"Authorization": basic("prometheus", f"{address} {n} {m}")}
                async with session.get(url, headers=login) as response:
                    statuses.append(response.status)

        await asyncio.gather(*map(guess, range(GUESSES)))


async def status_of(url: str) -> int:
    login = {"Authorization": basic("prometheus", PASSWORD)}
    async with aiohttp.ClientSession() as session, session.get(url, headers=login) as response:
        await response.read()
        return response.status


async def talk(url: str) -> tuple[list[int], list[int]]:
    """The statuses of the right password, and those of the wrong ones meanwhile."""
    wrong: list[int] = []
    floods = [asyncio.create_task(flood(url, address, wrong)) for address in ADDRESSES]
    while wrong.count(503) < 100:  # the flood is under way
        await asyncio.sleep(0.01)
        for ended in (task for task in floods if task.done()):
            ended.result()
    right = [await status_of(url) for _ in range(5)]
    for task in floods:
        task.cancel()
    await asyncio.gather(*floods, return_exceptions=True)
    return right, wrong


def test_the_right_password_gets_in_among_a_flood_of_wrong_ones(tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(8)).decode()
    (tmp_path / "web.yaml").write_text(f"basic_auth_users: {{prometheus: {hashed}}}\n")
    flags = "--web.config.file=web.yaml", "--web.listen-address=127.0.0.1:0"
    with exporter("demo", *flags, cwd=tmp_path) as running:
        url = running.expect(r"event=listening url=(\S+)")[1]
        right, wrong = asyncio.run(talk(f"{url}/metrics"))
        assert running.stop() == 0
    assert right == [200] * 5
    assert set(wrong) == {401, 503}
    said = re.findall(r"level=warning event=login_failed address=(\S+)", running.output)
    assert set(said) <= {*ADDRESSES}
    assert "right" not in said
