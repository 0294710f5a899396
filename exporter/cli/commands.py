"""What each command does. Each gets its parsed flags and returns the exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from exporter import app, config, logs, simulator, threads
from exporter.cli import ask
from exporter.demo import demo
from exporter.errors import ConfigError, load_both
from exporter.signals import Signals
from exporter.webconfig import Live

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Coroutine

    from exporter.config import Config


def serve(options: argparse.Namespace) -> int:
    """The exporter, until it is told to stop."""
    load = partial(config.load, options.config_file, os.environ)
    loaded, web_config = _read(load, options)
    _configure_logs(options)
    return _run(app.serve(_web_options(options), loaded, load, lambda urls: None, web_config))


def run_demo(options: argparse.Namespace) -> int:
    """The exporter with the simulator, until it is told to stop."""
    web_config = _web_config(options)
    _configure_logs(options)
    return _run(_run_demo(_web_options(options), web_config))


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


async def _run_demo(options: app.Options, web_config: Live | None) -> None:
    async with demo() as (simulator_url, load):
        greet = partial(_greet, options.route_prefix, options.telemetry_path, simulator_url)
        await app.serve(options, load(), load, greet, web_config)


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
    loaded, web_config = _read(partial(config.load, options.config_file, os.environ), options)
    warnings = [*loaded.warnings, *(web_config.config.warnings if web_config else ())]
    if warnings and options.strict:
        raise ConfigError(warnings)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    links = sum(len(account.links) for account in loaded.accounts)
    counts = f"{_count(len(loaded.accounts), 'account')}, {_count(links, 'link')}"
    print(f"{options.config_file} is valid: {counts}", flush=True)
    if web_config:
        print(f"{options.web_config_file} is valid", flush=True)
    return ask.online(loaded) if options.online else 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _read(load: Callable[[], Config], options: argparse.Namespace) -> tuple[Config, Live | None]:
    """Both configurations. Raises ``ConfigError`` with the faults of both."""
    return load_both(load, partial(_web_config, options))


def simulate(options: argparse.Namespace) -> int:
    """The simulator, until it is told to stop."""
    try:
        settings = simulator.Settings.from_options(
            links=options.links, latency=options.latency, faults=options.fault, seed=options.seed
        )
    except ValueError as error:
        options.usage_error(str(error))
    asyncio.run(_run_simulator(simulator.Provider(settings), *options.listen_address))
    return 0


async def _run_simulator(provider: simulator.Provider, host: str, port: int) -> None:
    signals = Signals()
    async with simulator.serving(provider, host, port) as url:
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
        getattr(options, "auto_reload", False),
        (options.route_prefix or options.external_path).rstrip("/"),
        options.external_path,
    )


def _web_config(options: argparse.Namespace) -> Live | None:
    return Live(options.web_config_file) if options.web_config_file else None


def _configure_logs(options: argparse.Namespace) -> None:
    logs.configure(options.log_level, options.log_format)
