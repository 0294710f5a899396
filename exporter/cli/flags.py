"""The flags, as Prometheus' own programs write them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from exporter import __version__, logs
from exporter.cli import ask, commands, init
from exporter.web import listen
from exporter.web.site import MAX_REQUESTS

T = TypeVar("T")

COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int], str]] = {
    "serve": (commands.serve, "run the exporter (the default command)"),
    "init": (init.init, "write a first config.yaml"),
    "demo": (commands.run_demo, "run the exporter on simulated links, without an account"),
    "check": (commands.check, "print every error in the configuration"),
    "get": (ask.get, "read links once and print their clicks, within the same limits as the service"),
    "simulate": (commands.simulate, "run only the simulated provider"),
}
SERVICES = ("serve", "demo", "simulate")
"""Commands that run until they are told to stop."""


_EPILOG = """\
flags of serve (smsc-exporter COMMAND --help shows those of another command):
{flags}
examples:
  smsc-exporter demo                       try it, then open http://localhost:10145/
  smsc-exporter init --id=145142           write config.yaml with one link
  smsc-exporter check --online             find errors, and ask the provider for one link
  smsc-exporter --config.file=/etc/smsc-exporter/config.yaml --web.listen-address=127.0.0.1:10145
  smsc-exporter get spring-sale            print the clicks on one link now

documentation: docs/README.md in the source code, and /docs/ on a running exporter
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line; each command's ``run`` and ``parser`` are among the parsed flags."""
    whole = argparse.ArgumentParser(
        prog="smsc-exporter",
        description="Prometheus exporter for the clicks on SMS Centre's short links.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=f"smsc-exporter {__version__}")
    commands = whole.add_subparsers(metavar="COMMAND", required=True)
    add = {
        name: commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        for name, (_, text) in COMMANDS.items()
    }
    for name, (run, _) in COMMANDS.items():
        add[name].set_defaults(run=run, parser=add[name])
    for name in ("serve", "init", "check", "get"):
        _add_config_flag(add[name])
    _add_init_flags(add["init"])
    for name in ("serve", "demo", "check"):
        _add_web_config_flag(add[name])
    _add_asking_flags(add["check"], add["get"])
    for name in ("serve", "demo"):
        _add_web_flags(add[name])
        _add_log_flags(add[name])
    _add_reload_flag(add["serve"])
    _add_simulator_flags(add["simulate"])
    whole.epilog = _EPILOG.format(flags=add["serve"].format_help().partition(" and exit\n")[2])
    return whole


def _add_config_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config.file",
        dest="config_file",
        default="config.yaml",
        metavar="FILE",
        help="the configuration; default: %(default)s",
    )


def _add_init_flags(parser: argparse.ArgumentParser) -> None:
    for flag, default in (("login", init.LOGIN), ("password", init.PASSWORD)):
        parser.add_argument(
            f"--{flag}-env",
            type=_checked(init.variable),
            default=default,
            metavar="NAME",
            help=f"environment variable that holds the {flag}; default: %(default)s",
        )
    parser.add_argument(
        "--id",
        dest="ids",
        action="extend",
        type=_checked(init.id_list),
        metavar="ID",
        help="id of a short link; may be repeated. Without it, init asks",
    )


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """``parse`` with its ``ValueError`` as argparse shows it."""

    def checked(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def _add_reload_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config.auto-reload",
        dest="auto_reload",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="reload when a file of the configuration changes; default: on",
    )


def _add_web_config_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--web.config.file",
        dest="web_config_file",
        default="",
        metavar="FILE",
        help="TLS, passwords and headers for whoever connects; default: none",
    )


def _add_asking_flags(check: argparse.ArgumentParser, get: argparse.ArgumentParser) -> None:
    check.add_argument(
        "--online", action="store_true", help="also ask the provider for one link of each account"
    )
    check.add_argument("--strict", action="store_true", help="treat warnings as errors")
    get.add_argument(
        "links", nargs="+", metavar="LINK", help="name, account/name, id or full address of a link"
    )
    get.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_web_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--web.listen-address",
        dest="listen_addresses",
        action="append",
        type=_address,
        metavar="HOST:PORT",
        help="where to listen, may be repeated; :0 picks a port and logs it; default: :10145",
    )
    parser.add_argument(
        "--web.health-address",
        dest="health_addresses",
        action="append",
        type=_address,
        metavar="HOST:PORT",
        help="where to answer only /-/healthy and /-/ready, without TLS or password; may be repeated",
    )
    parser.add_argument(
        "--web.telemetry-path",
        dest="telemetry_path",
        type=_path,
        default="/metrics",
        metavar="PATH",
        help="path of the metrics; default: %(default)s",
    )
    parser.add_argument(
        "--web.external-url",
        dest="external_path",
        type=_external_path,
        default="",
        metavar="URL",
        help="URL of the exporter behind a reverse proxy, such as https://example.com/smsc/",
    )
    parser.add_argument(
        "--web.route-prefix",
        dest="route_prefix",
        type=_prefix,
        default="",
        metavar="PATH",
        help="prefix of all paths; default: the path of --web.external-url",
    )
    parser.add_argument(
        "--web.enable-lifecycle",
        dest="enable_lifecycle",
        action="store_true",
        help="allow POST /-/reload and POST /-/quit",
    )
    parser.add_argument(
        "--web.max-requests",
        dest="max_requests",
        type=_count,
        default=MAX_REQUESTS,
        metavar="N",
        help="most scrapes answered at the same time, 0 for any number; default: %(default)s",
    )


def _add_log_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log.level",
        dest="log_level",
        choices=logs.LEVELS,
        default="info",
        help="least severe events to log; default: %(default)s",
    )
    parser.add_argument(
        "--log.format",
        dest="log_format",
        choices=logs.FORMATS,
        default="logfmt",
        help="format of the log; default: %(default)s",
    )


def _add_simulator_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen-address",
        type=_address,
        default="127.0.0.1:10146",
        metavar="HOST:PORT",
        help="where to listen; default: %(default)s",
    )
    parser.add_argument("--links", metavar="N", help="number of links; default: the links of the demo")
    parser.add_argument(
        "--latency", default="0", metavar="TIME", help="delay of each answer, such as 0.1, 50ms or 0.05-0.2"
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="FAULT",
        help="fault to simulate, such as http_500:0.05 or error_3@145142; may be repeated",
    )
    parser.add_argument(
        "--seed", default="1", metavar="N", help="seed of random clicks and --fault; default: %(default)s"
    )


_address = _checked(listen.parse_address)


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f'"{text}" is not a number: write a whole one, or 0 for no limit')
    return int(text)


def _external_path(text: str) -> str:
    """The path of a URL, without a slash at the end. A bare path will do, as for Prometheus."""
    try:
        url = urlsplit(text)
    except ValueError:  # [ without ]
        url = urlsplit("none:")
    bare = not (url.scheme or url.netloc) and url.path[:1] in ("", "/")
    known = url.hostname if url.scheme in ("http", "https") else bare
    if not known or "@" in url.netloc or url.query or url.fragment:
        raise argparse.ArgumentTypeError(
            "write the exporter's own URL, such as https://example.com/smsc/, without user, query or fragment"
        )
    return _prefix(url.path).rstrip("/")


def _prefix(text: str) -> str:
    """A path that begins with a slash and does not end with one, but for ``/`` itself."""
    bare = text.strip("/")
    parts = bare.split("/") if bare else []
    if not all(re.fullmatch(r"[\w.~-]+", part, re.ASCII) for part in parts) or {".", ".."} & set(parts):
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a path: write one such as /smsc, of letters, digits and . _ ~ -'
        )
    return f"/{bare}" if text else ""


def _path(text: str) -> str:
    if not re.fullmatch(r"/[\w./~-]*", text, re.ASCII):
        raise argparse.ArgumentTypeError(
            f'"{text}" is not a path: write one that begins with /, such as /metrics'
        )
    if {".", ".."} & set(text.split("/")):
        raise argparse.ArgumentTypeError(f'"{text}" holds . or .., which clients resolve: write it without')
    if text.startswith(("/-/", "/api/")):
        raise argparse.ArgumentTypeError(f'"{text}" begins as the exporter\'s own paths do: write another')
    return text
