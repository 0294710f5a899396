"""What a request asks for."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Query:
    """One request's parameters. Whatever is wrong with them, a `Query` can be made, so it can be counted."""

    well_formed: bool
    login: str  # whose request it is; the key itself when nobody has that key
    kind: str  # "id" or "link"; "" when neither or both are given
    value: str
    fmt: int  # 0 when the one asked for does not exist
    utf8: bool

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two requests identical: neither method, format nor host."""
        return (self.login, self.kind, self.value)


def read_query(parameters: Mapping[str, str], api_keys: Mapping[str, str]) -> Query:
    """Read the parameters; `api_keys` says whose login each key stands for."""
    fmt = parameters.get("fmt", "0")
    named = [kind for kind in ("id", "link") if parameters.get(kind)]
    kind = named[0] if len(named) == 1 else ""
    known_format = fmt in {"0", "1", "2", "3"}
    return Query(
        well_formed=bool(parameters.get("get") == "1" and _signed(parameters) and kind and known_format),
        login=_login(parameters, api_keys),
        kind=kind,
        value=parameters.get(kind, ""),
        fmt=int(fmt) if known_format else 0,
        utf8=parameters.get("charset", "").lower() == "utf-8",
    )


def _signed(parameters: Mapping[str, str]) -> bool:
    return bool(parameters.get("apikey") or (parameters.get("login") and parameters.get("psw")))


def _login(parameters: Mapping[str, str], api_keys: Mapping[str, str]) -> str:
    key = parameters.get("apikey")
    return api_keys.get(key, key) if key else parameters.get("login", "")
