"""Whatever stands in the file, ``load`` either takes it or says what is wrong with it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.errors import ConfigError
from exporter.webconfig import load
from exporter.webconfig.schema import HEADERS, File
from tests.unit.webconfig.door import ALICE, Keys

NAMES = sorted({*File.keys_of_file, *HEADERS})
WORDS = [
    *["", "0", "1s", "TLS12", "TLS13", "true", "a b", "x\ny", "x\0y", "deny", "X25519", ALICE, "server.crt"],
    *["server.key", "clients.crt", "RequireAndVerifyClientCert", "VerifyClientCertIfGiven", "9" * 30, "."],
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(WORDS) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Keys(tmp_path_factory.mktemp("robust")).folder


@settings(deadline=None, max_examples=300)
@given(sections=st.dictionaries(st.sampled_from([*File.readers]), VALUES, max_size=4))
def test_any_shape(folder: Path, sections: dict[str, object]) -> None:
    path = folder / "web.yaml"
    path.write_text(yaml.safe_dump(sections, allow_unicode=True), "utf-8")
    with suppress(ConfigError):
        load(path)


@settings(deadline=None, max_examples=300)
@given(tls=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(WORDS) | VALUES, max_size=6))
def test_any_value_beside_a_certificate(folder: Path, tls: dict[str, object]) -> None:
    path = folder / "web.yaml"
    section = {"cert_file": "server.crt", "key_file": "server.key", **tls}
    path.write_text(yaml.safe_dump({"tls_server_config": section}, allow_unicode=True), "utf-8")
    with suppress(ConfigError):
        load(path)
