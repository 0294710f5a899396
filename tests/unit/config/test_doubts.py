"""Every file in ``doubtful`` is named after what was probably not meant; beside it stand its warnings."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import cli
from exporter.config import load
from tests.unit.config.test_bad_links import write_config

DOUBTFUL = Path(__file__).parent / "doubtful"
NAMES = sorted(path.name for path in DOUBTFUL.iterdir() if path.suffix != ".txt")


@pytest.fixture
def checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs ``check`` on one of the files: its exit code and what it printed."""
    monkeypatch.chdir(DOUBTFUL)
    monkeypatch.setenv("QUOTED", "'hunter2'")

    def run(name: str, *flags: str) -> tuple[int, str, str]:
        file = name if name.endswith(".yaml") else str(write_config(tmp_path, str(DOUBTFUL / name)))
        code = cli.main(["check", f"--config.file={file}", *flags])
        said = capsys.readouterr()
        return code, said.out, said.err.replace(f"{DOUBTFUL}/", "")

    return run


@pytest.mark.parametrize("name", NAMES)
def test_warnings(name: str, checked: Callable[..., tuple[int, str, str]]) -> None:
    expected = (DOUBTFUL / f"{name}.txt").read_text("utf-8")
    code, out, err = checked(name)
    assert (code, err) == (0, expected)
    assert " is valid: " in out
    assert checked(name, "--strict") == (1, "", expected.replace("warning: ", ""))
    assert "hunter" not in expected


def test_every_expectation_has_its_file() -> None:
    assert sorted(path.stem for path in DOUBTFUL.glob("*.txt")) == NAMES
    assert len(NAMES) >= 10


def test_warnings_of_link_files_go_with_what_they_warn_of(tmp_path: Path) -> None:
    path = write_config(tmp_path, "*.csv")
    config = load(path, {})
    assert len(config.warnings) == 1  # of the pattern that matched nothing
    for text, warnings in (("id\n#N/A\n", 1), ("id\n145142\n", 0)):
        (tmp_path / "a.csv").write_text(text)
        config = load(path, {}, config)
        assert len([warning for warning in config.warnings if "spreadsheet" in warning.message]) == warnings


def test_warnings_are_shown_beside_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config(tmp_path, "none.csv", "a.csv", links=", refresh_interval: 1s")
    path.write_text(path.read_text().replace("hunter2", "changeme"))
    (tmp_path / "a.csv").write_text("id,name\n#N/A,\n1 2,\n")
    (tmp_path / "web.yaml").write_text("http_server_config: {http2: true}\n")
    code = cli.main(["check", f"--config.file={path}", f"--web.config.file={tmp_path / 'web.yaml'}"])
    said = capsys.readouterr().err.replace(f"{tmp_path}/", "").splitlines()
    assert (code, [line.partition(": ")[0] for line in said[:4]]) == (1, ["warning"] * 4)
    assert [line.split(": ")[1:3] for line in said[:4]] == [
        ["a.csv:2:1", "id"],
        ["config.yaml:4:41", "accounts[0].password"],
        ["config.yaml:4:64", "accounts[0].link_files[0]"],
        ["web.yaml:1:29", "http_server_config.http2"],
    ]
    assert [line.split(": ")[:2] for line in said[4:]] == [
        ["a.csv:3:1", "id"],
        ["config.yaml:4:104", "accounts[0].refresh_interval"],
    ]


IDS = st.integers(1, 10**9).map(str) | st.text(
    string.ascii_letters + string.digits + "_-", min_size=1, max_size=12
)
WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)
EVERYDAY_NAMES = st.lists(WORDS, min_size=1, max_size=4).flatmap(
    lambda words: st.sampled_from([" ", "-", "_", ".", " #", " & ", "/", ", "]).map(
        lambda mark: mark.join(words)
    )
)
ADDRESSES = st.builds(
    "https://{}.example/{}?{}={}#{}".format,
    st.text(string.ascii_lowercase, min_size=1, max_size=10),
    *[st.text(string.ascii_letters + string.digits + "-._~%+", max_size=10)] * 4,
)
PASSWORDS = st.text(string.ascii_letters + string.digits, min_size=6, max_size=20) | st.text(
    string.ascii_letters + string.digits + string.punctuation, min_size=8, max_size=20
).filter(lambda text: text[0] != text[-1] or text[0] not in "\"'")
LINKS = st.one_of(
    st.fixed_dictionaries({"id": IDS}, optional={"name": EVERYDAY_NAMES}),
    st.fixed_dictionaries({"link": ADDRESSES}, optional={"name": EVERYDAY_NAMES}),
)


@settings(max_examples=100)
@given(
    links=st.lists(
        LINKS,
        min_size=6,
        max_size=10,
        unique_by=(lambda link: link.get("name") or link.get("id") or link["link"]),
    ),
    login=IDS,
    password=PASSWORDS,
)
def test_ordinary_links_raise_no_warning(
    tmp_path_factory: pytest.TempPathFactory, links: list[dict[str, str]], login: str, password: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "ordinary.yaml"
    unique: list[dict[str, str]] = []
    for link in links:
        if not any({*link.values()} & {*other.values()} for other in unique):
            unique.append(link)
    account = {"name": "main", "login": login, "password": password, "links": unique}
    data = {"storage": {"url": "memory:"}, "accounts": [account]}
    path.write_text(yaml.safe_dump(data, allow_unicode=True), "utf-8")
    assert load(path, {}).warnings == ()
