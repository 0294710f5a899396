"""Nothing that is logged raises or spoils a line, whatever the encoding of the stream."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from exporter import logs

NAME = "весна-é-🌱"


@pytest.fixture
def stream(request: pytest.FixtureRequest) -> io.TextIOWrapper:
    """A stream of an encoding, as the command line sets it up."""
    return io.TextIOWrapper(io.BytesIO(), encoding=request.param, errors="backslashreplace")


def _logged(stream: io.TextIOWrapper, format: str) -> str:  # noqa: A002 - as in what is tested
    logs.configure("info", format, stream)  # type: ignore[arg-type]  # both formats, by name
    structlog.stdlib.get_logger("exporter.test").warning("link_failing", link=NAME)
    stream.seek(0)
    return stream.read()


@pytest.mark.parametrize("stream", ["ascii", "cp1251", "latin-1", "utf-8"], indirect=True)
def test_a_line_of_json_is_json_in_any_encoding(stream: io.TextIOWrapper) -> None:
    assert json.loads(_logged(stream, "json"))["link"] == NAME


@pytest.mark.parametrize("stream", ["ascii", "utf-8"], indirect=True)
def test_a_line_of_logfmt_is_written_in_any_encoding(stream: io.TextIOWrapper) -> None:
    assert "event=link_failing" in _logged(stream, "logfmt")


@pytest.mark.parametrize("stream", ["utf-8"], indirect=True)
def test_names_stay_readable_where_the_stream_can_print_them(stream: io.TextIOWrapper) -> None:
    assert NAME in _logged(stream, "json")
