"""The command line: flags in, exit code out.

Exit codes: 0 done, 1 a fault in the configuration or an address that cannot be had, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from functools import partial
from typing import TYPE_CHECKING

from exporter import __version__, app, config, listen, logs, simulator
from exporter.demo import demo
from exporter.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

COMMANDS = {
    "serve": "run the exporter (the default)",
    "demo": "run it against the built-in simulator, without credentials",
    "check": "read the configuration and print every fault in it",
    "simulate": "run the simulator alone",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments.insert(0, "serve")
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except ConfigError as error:
        return _fail(str(error))
    except StorageError as error:
        return _fail(f"smsc-exporter: {error}")
    except OSError as error:
        return _fail(f"smsc-exporter: {error}")


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


# --- commands ---------------------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> int:
    load = partial(config.load, options.config_file, os.environ)
    loaded = load()
    _configure_logs(options)
    return _run(app.serve(_web_options(options), loaded, load, lambda urls: None))


def _demo(options: argparse.Namespace) -> int:
    _configure_logs(options)
    return _run(_run_demo(_web_options(options)))


def _run(main: Coroutine[None, None, None]) -> int:
    """Runs ``main`` to its end, and then ends, whatever a thread may still be waiting for."""
    workers = app.Workers()

    async def run() -> None:
        asyncio.get_running_loop().set_default_executor(workers)
        await main

    asyncio.run(run())
    if workers.stuck():
        # Everything is written and closed. Python itself would wait for the threads.
        sys.stdout.flush()
        os._exit(0)
    return 0


async def _run_demo(options: app.Options) -> None:
    async with demo() as (simulator_url, load):
        await app.serve(options, load(), load, partial(_greet, options.telemetry_path, simulator_url))


def _greet(telemetry_path: str, simulator_url: str, urls: list[str]) -> None:
    lines = [
        f"  {url}{telemetry_path}  the metrics (first figures within seconds)\n  {url}/  the landing page"
        for url in urls
    ]
    print(
        "Open",
        *lines,
        f"  {simulator_url}/audit  what the simulated provider saw",
        "Stop with Ctrl-C.",
        sep="\n",
        flush=True,
    )


def _check(options: argparse.Namespace) -> int:
    loaded = config.load(options.config_file, os.environ)
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    links = sum(len(account.links) for account in loaded.accounts)
    print(f"{options.config_file}: no faults; accounts: {len(loaded.accounts)}, links: {links}")
    return 0


def _simulate(options: argparse.Namespace) -> int:
    try:
        settings = simulator.Settings.from_options(
            links=options.links, latency=options.latency, faults=options.fault, seed=options.seed
        )
    except ValueError as error:
        options.usage_error(str(error))
    asyncio.run(_run_simulator(simulator.Provider(settings), *options.listen_address))
    return 0


async def _run_simulator(provider: simulator.Provider, host: str, port: int) -> None:
    signals = app.Signals()
    async with simulator.serving(provider, host, port) as url:
        print(f"Simulating the provider on {url} (login demo, password demo). Stop with Ctrl-C.", flush=True)
        await signals.until_stopped(_ignore_hangup)


async def _ignore_hangup() -> None:
    """The simulator has nothing to reload."""


# --- flags ------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="smsc-exporter",
        description="Prometheus exporter for SMS Centre's short-link clicks.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"smsc-exporter {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add = {
        name: commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        for name, text in COMMANDS.items()
    }
    for name, run in (("serve", _serve), ("demo", _demo), ("check", _check), ("simulate", _simulate)):
        add[name].set_defaults(run=run, usage_error=add[name].error)
    for name in ("serve", "check"):
        _add_config_flag(add[name])
    for name in ("serve", "demo"):
        _add_web_flags(add[name])
        _add_log_flags(add[name])
    _add_simulator_flags(add["simulate"])
    return parser


def _add_config_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config.file",
        dest="config_file",
        default="config.yaml",
        metavar="FILE",
        help="default: %(default)s",
    )


def _add_web_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--web.listen-address",
        dest="listen_addresses",
        action="append",
        type=_address,
        metavar="HOST:PORT",
        help="may be given several times; :0 picks a port and logs it; default: :10145",
    )
    parser.add_argument(
        "--web.telemetry-path",
        dest="telemetry_path",
        type=_path,
        default="/metrics",
        metavar="PATH",
        help="default: %(default)s",
    )


def _add_log_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log.level", dest="log_level", choices=logs.LEVELS, default="info", help="default: %(default)s"
    )
    parser.add_argument(
        "--log.format", dest="log_format", choices=logs.FORMATS, default="logfmt", help="default: %(default)s"
    )


def _add_simulator_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen-address",
        type=_address,
        default="127.0.0.1:10146",
        metavar="HOST:PORT",
        help="default: %(default)s",
    )
    parser.add_argument("--links", metavar="N", help="that many numbered links; default: the demo's dozen")
    parser.add_argument("--latency", default="0", metavar="TIME", help="of each answer: 0.1, 50ms, 0.05-0.2")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="FAULT",
        help="such as http_500:0.05 or error_3@145142",
    )
    parser.add_argument("--seed", default="1", metavar="N", help="of clicks and faults; default: %(default)s")


def _address(text: str) -> tuple[str, int]:
    try:
        return listen.parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _path(text: str) -> str:
    if not re.fullmatch(r"/[\w./~-]*", text, re.ASCII):
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a path: write one that begins with /, such as /metrics'
        )
    if text.startswith("/-/"):
        raise argparse.ArgumentTypeError(f'"{text}" begins as the exporter\'s own paths do: write another')
    return text


def _web_options(options: argparse.Namespace) -> app.Options:
    return app.Options(tuple(options.listen_addresses or [("", 10145)]), options.telemetry_path)


def _configure_logs(options: argparse.Namespace) -> None:
    logs.configure(options.log_level, options.log_format)
