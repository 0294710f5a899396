"""A page in Debian's Chromium, without a window, over its DevTools protocol.

Chromium speaks it over a WebSocket, and aiohttp is here: no driver and no further package is needed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.processes import PATIENCE, program

FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root, in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


class Page:
    """One tab; ``complaints`` is what the browser had to say, such as what a policy forbade."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        self._socket = socket
        self._session: dict[str, str] = {}
        self._count = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def open(self) -> None:
        target = await self.command("Target.createTarget", url="about:blank")
        attached = await self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Log", "Runtime"):
            await self.command(f"{domain}.enable")

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if told.get("method") == "Page.loadEventFired":
                self._loaded.set()
            elif told.get("method") == "Log.entryAdded":
                self.complaints.append(told["params"]["entry"]["text"])
            elif "id" in told:
                self._answers.pop(told["id"]).set_result(told)

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command of the protocol and returns its result."""
        self._count += 1
        answer = self._answers[self._count] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._count, "method": method, "params": params, **self._session})
        async with asyncio.timeout(PATIENCE):
            told = await answer
        assert "error" not in told, told
        result: dict[str, Any] = told["result"]
        return result

    async def look(self, expression: str) -> Any:
        """The value of a JavaScript expression; the page itself may run none."""
        told = await self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    async def go(self, url: str) -> None:
        """Opens an address and waits for the page."""
        self._loaded.clear()
        told = await self.command("Page.navigate", url=url)
        assert "errorText" not in told, told
        await self._wait()

    async def act(self, expression: str) -> None:
        """Does what leads to another page, and waits for that."""
        self._loaded.clear()
        await self.look(expression)
        await self._wait()

    async def _wait(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._loaded.wait()

    async def show(self, width: int, height: int, *, dark: bool = False) -> None:
        """Sets the window's size and the colours that its user prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.command("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.command("Emulation.setEmulatedMedia", features=[scheme])

    async def photograph(self, **how: Any) -> bytes:
        """What is seen, as a PNG."""
        return base64.b64decode((await self.command("Page.captureScreenshot", **how))["data"])


@contextlib.asynccontextmanager
async def browser(home: Path) -> AsyncIterator[Page]:
    """A page in a browser of its own, whose files lie in ``home``."""
    with program("chromium", *FLAGS, f"--user-data-dir={home}", "about:blank", cwd=home) as running:
        url = (await asyncio.to_thread(running.expect, r"DevTools listening on (ws://\S+)"))[1]
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, max_msg_size=0) as socket,
        ):
            page = Page(socket)
            await page.open()
            try:
                yield page
            finally:
                await page.close()
        running.stop()
