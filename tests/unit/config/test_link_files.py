"""Link files without faults, and what becomes of them in a reload."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from exporter.config import Config, load
from exporter.model import Link

CONFIG = """\
storage: {url: 'memory:'}
accounts:
  - name: main
    login: alex
    password: hunter2
    refresh_interval: 2m
    labels: {team: growth}
    link_files: ["links/*", ./links/../links/*.*]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "links").mkdir()
    return tmp_path


def load_from(folder: Path) -> Config:
    return load(folder / "config.yaml", {})


def write(folder: Path, name: str, text: str) -> None:
    """Writes a file as careful programs do: whole, under another name, then renamed."""
    (folder / "new").write_text(text, "utf-8", newline="")
    (folder / "new").rename(folder / "links" / name)


def links_of(config: Config) -> list[Link]:
    return [link for account in config.accounts for link in account.links]


def names(config: Config) -> list[str]:
    return [link.name for link in links_of(config)]


def test_intervals_go_by_the_account_too(folder: Path) -> None:
    text = CONFIG.replace("refresh_interval: 2m", "refresh: adaptive\n    max_interval: 20m")
    (folder / "config.yaml").write_text(f"min_interval: 30s\n{text}")
    write(folder, "a.csv", "id,refresh_interval\n1,\n2,5m\n")
    first, own = links_of(load_from(folder))
    assert (first.bounds, first.refresh_interval, first.stale_after) == ((30, 1200), 60, 3600)
    assert (own.bounds, own.refresh_interval, own.stale_after) == (None, 300, 900)


class Reloads:
    """One reload after the other, as the exporter does them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.config = load_from(folder)

    def reload(self) -> list[str]:
        """The links' names afterwards."""
        self.config = load(self._folder / "config.yaml", {}, self.config)
        return names(self.config)

    def faults(self) -> dict[str, list[str]]:
        files = self.config.link_files
        return {file.name: [fault.message for fault in file.faults] for file in files if file.faults}


SPRING = Link(
    "main",
    "spring",
    id="145142",
    labels=(("campaign", "весна 🌱"), ("team", "growth")),
    refresh_interval=1800.0,
    stale_after=5400.0,
)
LANDING = Link(
    "main", "landing", url="https://a.example/?q=a,b", labels=(("team", "sales"),), refresh_interval=120.0
)
YAML = """\
- {id: 145142, name: spring, refresh_interval: 30m, labels: {campaign: весна 🌱}}
- link: https://a.example/?q=a,b
  name: landing
  labels: {team: sales}
"""
CSV = """\
id,link,name,refresh_interval,campaign,team
145142,,spring,30m,весна 🌱,
,"https://a.example/?q=a,b",landing,,,sales
"""
AS_JSON = [
    {"id": 145142, "name": "spring", "refresh_interval": "30m", "labels": {"campaign": "весна 🌱"}},
    {"link": "https://a.example/?q=a,b", "name": "landing", "labels": {"team": "sales"}},
]
EXCEL = 'link;name;id;team;campaign;refresh_interval;;\r\n;"spring";145142;;весна 🌱;30m;;\r\n;;;;;;;\r\n'
EXCEL += "https://a.example/?q=a,b;landing;;sales;;;;\r\n"


@pytest.mark.parametrize(
    ("name", "text"),
    {
        "a.yaml": YAML,
        "a.yml": "\ufeff" + YAML.replace("\n", "\r\n"),
        "a.json": json.dumps(AS_JSON),
        "indented by tabs.json": json.dumps(AS_JSON, indent="\t", ensure_ascii=False),
        "a.csv": CSV,
        "from excel.CSV": "\ufeff" + EXCEL,
        "named separator.csv": "sep=;\r\n" + EXCEL,
        "tabs.csv": EXCEL.replace(";", "\t"),
        "spaced.csv": CSV.replace(",", ", ").replace("q=a, b", "q=a,b"),
        "old mac.csv": CSV.replace("\n", "\r"),
        "without an end.csv": CSV.rstrip("\n"),
    }.items(),
)
def test_formats_say_the_same(name: str, text: str, folder: Path) -> None:
    write(folder, name, text)
    config = load_from(folder)
    assert links_of(config) == [SPRING, LANDING]
    assert [file.name for file in config.link_files] == [f"links/{name}"]
    assert config.warnings == ()


def test_json_escapes_are_json_s_own(folder: Path) -> None:
    write(
        folder, "a.json", r'[{"link": "https:\/\/a.example\/\\ud83c\\udf31", "name": "\u00ab\"\ud83c\udf31"}]'
    )
    (link,) = links_of(load_from(folder))
    assert (link.url, link.name) == (r"https://a.example/\ud83c\udf31", '«"🌱')


def test_links_stand_in_the_order_of_the_files(folder: Path) -> None:
    with (folder / "config.yaml").open("a") as config:
        config.write("    links: [{id: 9}]\n")
    for name in ("b.csv", "a.csv", "c.csv"):
        write(folder, name, f"id,name\n{ord(name[0])},{name}\n")
    assert names(load_from(folder)) == ["9", "a.csv", "b.csv", "c.csv"]


@pytest.mark.parametrize(("name", "text"), [("a.yaml", "[]"), ("a.json", "[]\n"), ("a.csv", "id;name\r\n")])
def test_file_without_links(name: str, text: str, folder: Path) -> None:
    write(folder, name, text)
    config = load_from(folder)
    assert (names(config), len(config.link_files)) == ([], 1)


def test_pattern_that_matches_nothing_is_warned_of(folder: Path) -> None:
    write(folder, "a.csv", "id\n1\n")
    (folder / "config.yaml").write_text(CONFIG.replace("./links/../links/*.*", "link/*.csv"))
    (warning,) = load_from(folder).warnings
    assert str(warning) == (
        f"{folder}/config.yaml:8:29: accounts[0].link_files[1]: "
        "matches no file: create one, or correct the pattern"
    )


def test_absolute_pattern(folder: Path) -> None:
    below = folder / "links" / "2025" / "spring"
    below.mkdir(parents=True)
    (below / "a.csv").write_text("id\n1\n")
    (folder / "config.yaml").write_text(CONFIG.replace("links/*", f"{folder}/links/20??/spring/*.csv"))
    config = load_from(folder)
    assert (names(config), config.link_files[0].name) == (["1"], str(below / "a.csv"))


def test_overload_counts_links_from_files(folder: Path) -> None:
    write(folder, "b.csv", "id\na\n")
    reloads = Reloads(folder)
    write(folder, "a.csv", "id\n" + "".join(f"{n}\n" for n in range(10_000)))
    reloads.reload()
    (warning,) = reloads.config.warnings
    assert str(warning).startswith(
        f"{folder}/config.yaml:3:5: accounts[0]: 10001 links ask for 83.3 requests a second"
    )
    write(folder, "a.csv", "id\n1\n")
    reloads.reload()
    assert reloads.config.warnings == ()


def test_file_with_errors_without_end_keeps_its_links(folder: Path) -> None:
    write(folder, "a.csv", "id\n1\n")
    write(folder, "b.csv", "id\n2\n")
    reloads = Reloads(folder)
    write(folder, "a.csv", "id\n" + "7\n" * 300)
    write(folder, "b.csv", "id\n3\n")
    assert sorted(reloads.reload()) == ["1", "3"]
    assert reloads.faults()["links/a.csv"][-1] == "more than 100 errors: correct the others first"


def test_file_that_is_gone_takes_its_links_along(folder: Path) -> None:
    write(folder, "a.csv", "id\n1\n")
    reloads = Reloads(folder)
    (folder / "links" / "a.csv").unlink()
    assert reloads.reload() == []
    assert reloads.config.link_files == ()


def test_links_of_a_file_that_has_not_changed_inherit_anew(folder: Path) -> None:
    write(folder, "a.csv", "id\n1\n")
    reloads = Reloads(folder)
    (folder / "config.yaml").write_text(CONFIG.replace("growth", "sales"))
    reloads.reload()
    assert links_of(reloads.config)[0].labels == (("team", "sales"),)


def test_account_that_is_new_brings_its_files(folder: Path) -> None:
    write(folder, "a.csv", "id\n1\n")
    reloads = Reloads(folder)
    (folder / "config.yaml").write_text(CONFIG.replace("main", "other"))
    assert reloads.reload() == ["1"]
    assert [(file.account, file.name) for file in reloads.config.link_files] == [("other", "links/a.csv")]


def test_faulty_file_gives_up_links_that_the_configuration_now_has_itself(folder: Path) -> None:
    write(folder, "a.csv", "id,name\n1,one\n2,two\n3,three\n")
    reloads = Reloads(folder)
    write(folder, "a.csv", "idd\n1\n")
    with (folder / "config.yaml").open("a") as config:
        config.write("    links: [{id: 1, name: uno}, {id: 9, name: two}]\n")
    assert reloads.reload() == ["uno", "two", "three"]
    assert set(reloads.faults()) == {"links/a.csv"}


def test_change_that_leaves_size_and_time_is_seen(folder: Path) -> None:
    write(folder, "a.csv", "id\n1\n")
    reloads = Reloads(folder)
    path = folder / "links" / "a.csv"
    times = path.stat()
    path.write_text("id\n2\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert reloads.reload() == ["2"]


def test_volumes_as_kubernetes_swaps_them(folder: Path) -> None:
    """Files are links into ``..data``, itself a link, which is replaced by another in one step."""
    links = folder / "links"
    for version, ids in (("..v1", "1"), ("..v2", "2\n3")):
        (links / version).mkdir()
        (links / version / "a.csv").write_text(f"id\n{ids}\n")
    (links / "..data").symlink_to("..v1")
    (links / "a.csv").symlink_to("..data/a.csv")
    reloads = Reloads(folder)
    assert names(reloads.config) == ["1"]
    (links / "..next").symlink_to("..v2")
    (links / "..next").rename(links / "..data")
    assert reloads.reload() == ["2", "3"]
    (links / "..v2" / "a.csv").unlink()  # the name itself stays, and leads nowhere
    assert reloads.reload() == []


def test_faulty_file_keeps_what_it_had_and_touches_no_other(folder: Path) -> None:
    write(folder, "a.csv", "id\n1\n")
    write(folder, "b.csv", "id\n2\n")
    reloads = Reloads(folder)
    write(folder, "a.csv", "idd\n1\n")
    write(folder, "b.csv", "id\n2\n3\n")
    write(folder, "c.yaml", "- {id: 4")
    assert reloads.reload() == ["1", "2", "3"]
    assert reloads.faults() == {
        "links/a.csv": ["no column is named id or link: name a column id or link"],
        "links/c.yaml": [
            "the bracket that opens here is not closed, a comma is missing, or a colon needs quotes"
        ],
    }
    before = reloads.config
    reloads.reload()
    assert reloads.config == before
    write(folder, "a.csv", "id\n5\n")
    (folder / "links" / "c.yaml").unlink()
    assert reloads.reload() == ["5", "2", "3"]
    assert reloads.faults() == {}


def test_file_that_clashes_with_another_waits_for_it(folder: Path) -> None:
    write(folder, "a.csv", "id,name\n1,one\n")
    write(folder, "b.csv", "id,name\n2,two\n")
    reloads = Reloads(folder)
    write(folder, "a.csv", "id,name\n2,new\n3,three\n")
    assert reloads.reload() == ["one", "two"]
    b_csv = f"{folder}/links/b.csv"
    assert reloads.faults() == {"links/a.csv": [f"{b_csv}:2 is the same link: remove one"]}
    write(folder, "b.csv", "id,name\n4,three\n")
    assert reloads.reload() == ["one", "three"]
    assert reloads.faults() == {"links/a.csv": [f"{b_csv}:2 already has this name: choose another"]}
    (folder / "links" / "b.csv").unlink()
    assert reloads.reload() == ["new", "three"]
    assert reloads.faults() == {}


def test_links_change_places_between_files(folder: Path) -> None:
    write(folder, "a.csv", "id\n1\n")
    write(folder, "b.csv", "id\n2\n")
    reloads = Reloads(folder)
    write(folder, "a.csv", "id\n2\n")
    write(folder, "b.csv", "id\n1\n")
    assert reloads.reload() == ["2", "1"]
    assert reloads.faults() == {}


def test_file_that_falls_back_may_stand_in_the_way(folder: Path) -> None:
    write(folder, "a.csv", "id\n1\n2\n")
    reloads = Reloads(folder)
    write(folder, "a.csv", "id\n1\n3\n3\n")
    write(folder, "b.csv", "id\n2\n")
    assert reloads.reload() == ["1", "2"]
    assert set(reloads.faults()) == {"links/a.csv", "links/b.csv"}
    write(folder, "a.csv", "id\n1\n3\n")
    assert reloads.reload() == ["1", "3", "2"]


def test_file_falls_back_after_another_clash(folder: Path) -> None:
    write(folder, "a.csv", "id\n1\n")
    write(folder, "b.csv", "id\n2\n")
    write(folder, "c.csv", "id\n3\n")
    reloads = Reloads(folder)
    write(folder, "b.csv", "id\n1\n")  # clashes with a.csv, so keeps 2 ...
    write(folder, "c.csv", "id\n2\n")  # ... with which c.csv clashes
    assert reloads.reload() == ["1", "2", "3"]
    before = f"what {folder}/links/b.csv had before its errors"
    assert reloads.faults() == {
        "links/b.csv": [f"{folder}/links/a.csv:2 is the same link: remove one"],
        "links/c.csv": [f"{before} is the same link: remove one"],
    }


def test_file_that_cannot_be_looked_at_is_not_gone(folder: Path) -> None:
    write(folder, "a.csv", "id\n1\n")
    reloads = Reloads(folder)
    path = folder / "links" / "a.csv"
    path.unlink()
    path.symlink_to(path)  # as unreadable as a disk that is away, even to root
    assert reloads.reload() == ["1"]
    assert "cannot be read" in reloads.faults()["links/a.csv"][0]
    before = reloads.config
    reloads.reload()
    assert reloads.config == before
    path.unlink()
    path.write_text("id\n1\n2\n")
    assert reloads.reload() == ["1", "2"]


def test_ten_thousand_links_in_a_file(folder: Path) -> None:
    write(folder, "a.csv", "id;name;campaign\n" + "".join(f"{n};link {n};spring\n" for n in range(10_000)))
    config = load_from(folder)
    assert links_of(config)[-1].labels == (("campaign", "spring"), ("team", "growth"))
    assert len(config.accounts[0].links) == 10_000
