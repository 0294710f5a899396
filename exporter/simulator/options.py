"""Everything that can be set, and the reading of it from a command line."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from exporter.simulator.days import utc_offset
from exporter.simulator.faults import parse_faults
from exporter.simulator.links import SimulatedLink, demo_links, numbered_links

_LATENCY = re.compile(r"(\d+(?:\.\d+)?)(ms|s)?(?:-(\d+(?:\.\d+)?)(ms|s)?)?")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The simulator's settings; what is written wrongly raises `ValueError` saying what to write."""

    links: Sequence[SimulatedLink] = field(default_factory=demo_links, repr=False)
    accounts: Mapping[str, str] = field(
        default_factory=lambda: {"demo": "demo"}, repr=False
    )  # login: password
    api_keys: Mapping[str, str] = field(
        default_factory=lambda: {"demo-key": "demo"}, repr=False
    )  # key: login
    allowed_ips: frozenset[str] | None = None  # who may log in; None: everybody
    midnight: str = "21:00"  # the UTC time of day at which the provider's day begins: Moscow's
    latency: str = "0"  # before an answer goes out: "0.1", "50ms", or a range such as "0.05-0.2"
    faults: str = ""  # as `faults` reads them
    seed: int = 1
    breaches: int = 10  # answers with error 9 within ten minutes that block an address
    hang_seconds: float = 60.0  # as long as nginx waits for what is behind it
    freeze_seconds: float = 60.0
    drip_seconds: float = 1.0  # between two bytes
    huge_bytes: int = 1_000_000_000
    redirect_to: str = "/moved"

    def __post_init__(self) -> None:
        utc_offset(self.midnight)
        parse_latency(self.latency)
        parse_faults(self.faults)
        if self.breaches < 1:
            raise ValueError(f"breaches {self.breaches}: write 1 or more")

    @classmethod
    def from_options(
        cls,
        *,
        links: int | str | None = None,
        latency: str = "0",
        faults: Iterable[str] = (),
        seed: int | str = 1,
        midnight: str = "21:00",
    ) -> Self:
        """Make settings from a command line's options; without `links`, the demo's."""
        return cls(
            links=demo_links() if links is None else numbered_links(_whole("links", links)),
            latency=latency,
            faults=",".join(faults),
            seed=_whole("seed", seed),
            midnight=midnight,
        )


def parse_latency(text: str) -> tuple[float, float]:
    """Read a latency, constant or a range, into its least and its most seconds."""
    found = _LATENCY.fullmatch(text)
    if found is None:
        raise ValueError(f"latency {text!r}: write seconds as 0.1 or 100ms, or a range as 0.05-0.2")
    low, unit, high, high_unit = found.groups()
    least = float(low) * _scale(unit or high_unit)
    most = float(high) * _scale(high_unit) if high else least
    if most < least:
        raise ValueError(f"latency {text!r}: write the smaller number first")
    return least, most


def _scale(unit: str | None) -> float:
    return 0.001 if unit == "ms" else 1.0


def _whole(name: str, value: int | str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{name} {value!r}: write a whole number") from None
