"""Secrets are equal by what they hold, and do not show it."""

from __future__ import annotations

import json
import logging
import traceback
from dataclasses import dataclass

import pytest

from exporter.secret import SecretStr

SECRET = SecretStr("hunter2")


@dataclass
class Holder:
    secret: SecretStr


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{!r:>30}".format, "%s".__mod__, ascii])
def test_it_does_not_show(show: object) -> None:
    assert callable(show)
    assert "hunter" not in show(SECRET)
    assert "*****" in show(SECRET)


def test_nothing_that_holds_it_shows_it(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger().error("%s %r", SECRET, Holder(SECRET))
    shown = traceback.format_exception(ValueError(SECRET, Holder(SECRET)))
    assert "hunter" not in "".join(shown) + caplog.text + repr([Holder(SECRET)])
    assert "hunter" not in json.dumps({"secret": SECRET}, default=str)


def test_it_is_what_it_holds() -> None:
    assert SECRET.get_secret_value() == "hunter2"
    assert SecretStr("hunter2") == SECRET != SecretStr("hunter3")
    assert {SECRET, SecretStr("hunter2")} == {SECRET}
