"""The document against the code: every key is told, and the examples work."""

from __future__ import annotations

import re
from pathlib import Path

import bcrypt
import pytest

from exporter.webconfig import load
from exporter.webconfig.schema import HEADERS, File
from tests.unit.webconfig.door import Keys

DOCUMENT = (Path(__file__).parents[3] / "docs" / "web-configuration.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(tls_server_config:.*?)```", DOCUMENT, re.DOTALL)


@pytest.mark.parametrize("key", sorted({*File.keys_of_file, *HEADERS}))
def test_every_key_is_told(key: str) -> None:
    assert f"`{key}`" in DOCUMENT


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_accepted(tmp_path: Path, example: str) -> None:
    Keys(tmp_path)
    path = tmp_path / "web.yaml"
    path.write_text(example)
    config = load(path)
    assert config.warnings == ()
    assert all(bcrypt.checkpw(b"secret", hashed) for hashed in config.users.values())
