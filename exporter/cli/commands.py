"""What each command does. Each gets its parsed flags and returns the exit code."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Coroutine
from functools import partial
from pathlib import Path

import yaml

from exporter import app, logs, simulator, threads
from exporter.cli import ask
from exporter.errors import ConfigError
from exporter.reloading import Loader, size_of
from exporter.signals import Signals
from exporter.web import listen

_MISSPELT = {"id": "145124", "name": "misspelt-id"}
"""A deliberately wrong id, so that one link of the demo fails and an alert fires."""


def serve(options: argparse.Namespace) -> int:
    """The exporter, until it is told to stop."""
    loader = _loader(options)
    loaded = loader.load()
    _configure_logs(options)
    return _run(app.serve(_web_options(options), loader, loaded, lambda urls: None))


def run_demo(options: argparse.Namespace) -> int:
    """The exporter with the simulator, until it is told to stop."""
    _configure_logs(options)
    return _run(_run_demo(_web_options(options), options.web_config_file))


def _run(main: Coroutine[None, None, None]) -> int:
    """Runs ``main`` to its end, and then ends, whatever a thread may still be waiting for."""

    async def run() -> None:
        asyncio.get_running_loop().set_default_executor(threads.Threads(None, "any"))
        await main

    asyncio.run(run())
    if threads.stuck():
        # Everything is written and closed. Python itself would wait for the threads.
        if sys.stdout:  # there is none where the process was started without
            sys.stdout.flush()
        os._exit(0)
    return 0


async def _run_demo(options: app.Options, web_path: str | None) -> None:
    settings = simulator.Settings(latency="0.05-0.2")
    with tempfile.TemporaryDirectory(prefix="smsc-exporter-demo-") as folder:
        async with simulator.serving(simulator.Provider(settings)) as url:
            loader = Loader(_demo_config(folder, settings, url), {}, web_path)
            greet = partial(_greet, options.route_prefix, options.telemetry_path, url)
            await app.serve(options, loader, loader.load(), greet)


def _demo_config(folder: str, settings: simulator.Settings, url: str) -> Path:
    links = [{"id": link.id, "name": link.name, "labels": {"shape": link.shape}} for link in settings.links]
    account = {"name": "demo", "login": "demo", "password": "demo", "base_url": url}
    accounts = [{**account, "links": [*links, _MISSPELT]}]
    document = {"refresh_interval": "21s", "storage": {"url": "memory:"}, "accounts": accounts}
    path = Path(folder, "config.yaml")
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    return path


def _greet(route_prefix: str, telemetry_path: str, simulator_url: str, urls: list[str]) -> None:
    for url in urls:
        print(f"\nStatus page:  {url}{route_prefix}/")
        print(f"Metrics:      {url}{route_prefix}{telemetry_path}")
    print(f"Audit:        {simulator_url}/audit")
    print("\nThe audit shows what the exporter asked the simulated provider, and whether it kept the limits.")
    print('All links have figures within seconds, but for "misspelt-id": its id is wrong on purpose.')
    print("Stop with Ctrl-C.\n", flush=True)


def check(options: argparse.Namespace) -> int:
    """Reads the configuration and the web's. Raises ``ConfigError`` with every error in them.

    With ``--strict`` a warning is an error.
    """
    loaded = _loader(options).load()
    if loaded.warnings and options.strict:
        raise ConfigError([*loaded.warnings])
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    size = size_of(loaded.config)
    counts = f"{_count(size['accounts'], 'account')}, {_count(size['links'], 'link')}"
    print(f"{options.config_file} is valid: {counts}", flush=True)
    if loaded.web:
        print(f"{options.web_config_file} is valid", flush=True)
    return ask.online(loaded.config) if options.online else 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _loader(options: argparse.Namespace) -> Loader:
    return Loader(options.config_file, os.environ, options.web_config_file)


def simulate(options: argparse.Namespace) -> int:
    """The simulator, until it is told to stop."""
    try:
        settings = simulator.Settings.from_options(
            links=options.links, latency=options.latency, faults=options.fault, seed=options.seed
        )
    except ValueError as error:
        options.parser.error(str(error))
    asyncio.run(_run_simulator(simulator.Provider(settings), *options.listen_address))
    return 0


async def _run_simulator(provider: simulator.Provider, host: str, port: int) -> None:
    signals = Signals()
    sock = listen.open_socket(host, port, "--listen-address")
    async with simulator.serving(provider, sock):
        url = listen.url_of(sock)
        print(f"Simulating the provider on {url} (login demo, password demo). Stop with Ctrl-C.", flush=True)
        await signals.until_stopped(_ignore_hangup)


async def _ignore_hangup() -> None:
    """The simulator has nothing to reload."""


def _web_options(options: argparse.Namespace) -> app.Options:
    return app.Options(
        tuple(options.listen_addresses or [("", 10145)]),
        options.telemetry_path,
        tuple(options.health_addresses or []),
        options.enable_lifecycle,
        options.max_requests,
        getattr(options, "auto_reload", True),
        (options.route_prefix or options.external_path).rstrip("/"),
        options.external_path,
    )


def _configure_logs(options: argparse.Namespace) -> None:
    logs.configure(options.log_level, options.log_format)
