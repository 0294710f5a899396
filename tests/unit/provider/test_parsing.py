"""Answers as the provider writes them, or might, and what must never be taken for one."""

from __future__ import annotations

import encodings.aliases
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from xml.sax.saxutils import escape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.errors import (
    ApiError,
    BlockedError,
    MalformedError,
    NoAnswerError,
    NotFoundError,
    ParametersError,
    PollError,
    ThrottledError,
    UnauthorizedError,
    UnknownApiError,
)
from exporter.model import Link, Reading
from exporter.provider.parsing import parse
from tests.factories import make_link, make_reading

READING = make_reading()
LINK = make_link()
ANY = make_link(url="https://mywebsite.ru/")

JSON = (
    '{\n"id": "145142",\n"cnt": "7",\n"cnt_mon": "3",\n"cnt_day": "1",\n"cnt_yes": "2",\n"cnt_pmon": "4",\n'
    '"link": "smsc.tips/a"\n}'
)
JSON_NUMBERS = (
    '{"id":145142,"cnt":7,"cnt_mon":3,"cnt_day":1,"cnt_yes":2,"cnt_pmon":4,"link":"smsc.tips\\/a","new":[{}]}'
)
XML = (
    "<result>\n<id>145142</id>\n<cnt>7</cnt>\n<cnt_mon>3</cnt_mon>\n<cnt_day>1</cnt_day>\n<cnt_yes>2</cnt_yes>\n"
    "<cnt_pmon>4</cnt_pmon>\n<link>smsc.tips/a</link>\n</result>"
)
CSV = "145142,7,3,1,2,4,smsc.tips/a"
PLAIN = "id = 145142, cnt = 7, cnt_mon = 3, cnt_day = 1, cnt_yes = 2, cnt_pmon = 4, link = smsc.tips/a"
FIELDS = ("id", "cnt", "cnt_mon", "cnt_day", "cnt_yes", "cnt_pmon", "link")
PARTS = FIELDS[2:6]
FORMATS = {"json": JSON, "numbers": JSON_NUMBERS, "xml": XML, "csv": CSV, "plain": PLAIN}


def read(text: str | bytes, link: Link = LINK, charset: str | None = None) -> Reading:
    return parse(text.encode() if isinstance(text, str) else text, charset, link)


def fault(text: str | bytes, link: Link = LINK) -> str:
    with pytest.raises(MalformedError) as caught:
        read(text, link)
    assert type(caught.value) is MalformedError
    return str(caught.value)


@pytest.mark.parametrize("text", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize(
    "dress",
    [
        lambda text: text,
        lambda text: "\ufeff" + text,
        lambda text: "\r\n " + text.replace("\n", "\r\n") + " \r\n\n",
        lambda text: text.replace("7", " 7 ") if not text.startswith('{"id":1') else text,
    ],
    ids=["bare", "BOM", "CRLF", "spaces"],
)
def test_a_whole_answer_is_read(text: str, dress: Callable[[str], str]) -> None:
    assert read(dress(text)) == READING


def test_a_reading_shares_its_links_id() -> None:
    assert read(JSON).id is LINK.id


def test_the_order_in_csv_is_id_all_month_today_yesterday_previous_month_link() -> None:
    assert read("9,15,2,3,4,5,l", ANY) == Reading("9", 15, 2, 3, 4, 5, "l")


@pytest.mark.parametrize(
    ("text", "short_link"),
    [
        (CSV + ",b=1, c", "smsc.tips/a,b=1, c"),
        (PLAIN + ",b=1, c", "smsc.tips/a,b=1, c"),
        (
            XML.replace("smsc.tips/a", "a?b=1&c=2&copy=3&amp;d=&lt;&#39;&#x41;&quot;"),
            "a?b=1&c=2&copy=3&d=<'A\"",
        ),
        ('<?xml version="1.0" encoding="utf-8"?>\n' + XML, "smsc.tips/a"),
        (XML.replace("<id>", "<new>?</new><id>"), "smsc.tips/a"),
        (JSON.replace("tips/a", r"tips/\"a\\\u0431"), 'smsc.tips/"a\\б'),
        (JSON.replace("tips/a", 'tips/"a"'), 'smsc.tips/"a"'),
        (JSON.replace("tips/a", 'a"'), 'smsc.a"'),
        (JSON.replace("tips/a", "\\x\\"), "smsc.\\x\\"),
        (JSON.replace('"7"', "7").replace("tips/a", '"'), 'smsc."'),
    ],
)
def test_a_link_is_read_as_it_stands(text: str, short_link: str) -> None:
    assert read(text) == make_reading(short_link=short_link)


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        (CSV.encode("cp1251") + "я".encode("cp1251"), None),
        (CSV.encode("cp1251") + "я".encode("cp1251"), "windows-1251"),
        (CSV.encode("cp1251") + "я".encode("cp1251"), "utf-8"),
        (CSV.encode("cp1251") + "я".encode("cp1251"), "no such charset"),
        (CSV.encode("cp1251") + "я".encode("cp1251"), "\0\udcff"),
        (CSV.encode("cp1251") + "я".encode("cp1251"), "punycode"),
        (CSV.encode("cp1251") + "я".encode("cp1251"), "hex"),
        (CSV.encode() + "я".encode("koi8-r"), "koi8-r"),
        (CSV.encode() + "я".encode("koi8-r"), "KOI8_R"),
        (CSV.encode() + "я".encode(), "windows-1251"),
        ((CSV + "я").encode("utf-16"), "utf-16"),
    ],
)
def test_the_text_is_utf_8_or_the_headers_charset_or_cp1251(body: bytes, charset: str | None) -> None:
    assert parse(body, charset, LINK).short_link == "smsc.tips/aя"


def test_a_charset_that_nobody_has_leaves_nothing_in_memory() -> None:
    read(CSV, charset="never-seen")
    tracemalloc.start()
    for name in ("x" * 10_000, "utf" + "-" * 10_000 + "8"):
        for number in range(20):
            read(CSV, charset=f"{number}{name}{number}"), read(CSV, charset=name + "-" * number)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000


def test_what_no_charset_fits_is_malformed() -> None:
    assert fault(CSV.encode() + b"\x98") == "the answer is not text in any charset the provider uses"


@pytest.mark.parametrize("body", [b"", b" \r\n\t", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_an_empty_body_is_no_answer(body: bytes) -> None:
    with pytest.raises(NoAnswerError, match="the answer is empty"):
        read(body)


@pytest.mark.parametrize(
    "text",
    [
        "<html><body>ERROR = 9</body></html>",
        "<!DOCTYPE html>\n<html>",
        "\n<!doctype HTML PUBLIC '-//W3C//DTD HTML 4.01//EN'>",
        '<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "">',
        "<!-- nginx --><HTML lang=ru>",
        "<head><title>502</title>",
        "<body>",
    ],
)
def test_a_web_page_is_no_answer(text: str) -> None:
    with pytest.raises(NoAnswerError, match="the answer is a web page"):
        read(text)


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("ERROR = 9 (duplicate request, wait a minute)", "duplicate request, wait a minute"),
        ("ERROR = 9 (a, b (c)) more, text", "a, b (c)"),
        ("ERROR=9", ""),
        ("ERROR = 9 wait, a minute", "wait, a minute"),
        ("0,-9", ""),
        ("0, -9\r\n", ""),
        ("<result>\r\n<error>a &lt; b & c</error>\r\n<error_code>9</error_code>\r\n</result>", "a < b & c"),
        ("<result><error_code> 9 </error_code></result>", ""),
        ('{\r\n"error": "слишком часто",\r\n"error_code": 9\r\n}', "слишком часто"),
        ('{"error_code": "9", "error": null}', ""),
        ('{"error": "two\nlines\u0000\\ud800", "error_code": 9}', "two lines"),
        ('{\n"error": "link "a\\b" is, well, "odd"",\n"error_code": 9\n}', 'link "a\\b" is, well, "odd"'),
        ('{\n"error": "one "a"\n and two",\n"error_code": "9"\n}', 'one "a"  and two'),
    ],
)
def test_an_error_is_read_in_every_format(text: str, description: str) -> None:
    with pytest.raises(ThrottledError) as caught:
        read(text)
    assert (caught.value.code, caught.value.description) == (9, description)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, ParametersError),
        (2, UnauthorizedError),
        (3, NotFoundError),
        (4, BlockedError),
        (9, ThrottledError),
        (5, UnknownApiError),
        (123456789, UnknownApiError),
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        "ERROR = {} (x)",
        "0,-{}",
        "<result><error>x</error><error_code>{}</error_code></result>",
        '{{"error_code": {}}}',
    ],
)
def test_every_error_number_has_its_kind(text: str, code: int, kind: type[ApiError]) -> None:
    with pytest.raises(ApiError) as caught:
        read(text.format(code))
    assert type(caught.value) is kind
    assert caught.value.code == code


def test_a_description_is_cut() -> None:
    with pytest.raises(ThrottledError) as caught:
        read(f"ERROR = 9 ({'long ' * 1000})")
    assert caught.value.description == "long " * 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"error": "x"}', "error_code is missing"),
        ('{"error_code": null}', "error_code is neither text nor a number"),
        ('{"error_code": true}', "error_code is neither text nor a number"),
        ('{"error_code": 0}', "error_code is not an error number: '0'"),
        ('{"error_code": -9}', "error_code is not an error number: '-9'"),
        ('{"error_code": 9.5}', "error_code is not an error number: '9.5'"),
        ('{"error_code": ""}', "error_code is not an error number"),
        ("<result><error_code>٩</error_code></result>", "error_code is not an error number: '٩'"),
        ("<result><error_code>-9</error_code></result>", "error_code is not an error number: '-9'"),
        ("0,-0", "error_code is not an error number: '0'"),
        ("ERROR = 0 (x)", "error_code is not an error number: '0'"),
        ("ERROR = 9  (broken", "the answer has an unknown shape: 'ERROR = 9  (broken'"),
        ("ERROR = -9", "the answer has an unknown shape: 'ERROR = -9'"),
        ("0,9", "cnt_mon is missing"),
    ],
)
def test_an_error_without_a_fit_number_is_malformed(text: str, message: str) -> None:
    assert fault(text) == message


@pytest.mark.parametrize("name", FIELDS)
def test_a_missing_field_is_named(name: str) -> None:
    fields = json.loads(JSON)
    del fields[name]
    assert fault(json.dumps(fields)) == f"{name} is missing"
    xml = "".join(f"<{key}>{value}</{key}>" for key, value in fields.items())
    assert fault(f"<result>{xml}</result>") == f"{name} is missing"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("145142,7,3,1,2,4", "link is missing"),
        ("145142,7,3,1,2,4,", "link is empty"),
        ("145142,7,3,1", "cnt_yes is missing"),
        (",7,3,1,2,4,l", "id is empty"),
        ("145142;7", "the answer has an unknown shape: '145142;7'"),
        (
            "145142,7,3,1,2,4,a\n145142,7,3,1,2,4,a",
            "link contains control characters: 'a\\n145142,7,3,1,2,4,a'",
        ),
        ("id = 145142, cnt = 7", "cnt_mon is missing"),
        (PLAIN.replace("link", "lnk"), "link is missing"),
        (PLAIN.replace("cnt_mon = 3, ", ""), "cnt_mon is missing"),
        (PLAIN.replace("cnt_mon", "cnt"), "a key is in the answer twice"),
    ],
)
def test_a_broken_line_is_malformed(text: str, message: str) -> None:
    assert fault(text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "the answer has an unknown shape: '[]'"),
        ('"text"', "the answer has an unknown shape"),
        ("{}", "id is missing"),
        (JSON[:-1], "the answer is not complete JSON"),
        (JSON + JSON, "the answer is not complete JSON"),
        (JSON_NUMBERS * 2, "the answer is not complete JSON"),
        (JSON + "}", "the answer is not complete JSON"),
        ('{"a": ' * 100_000, "the answer is not complete JSON"),
        (JSON.replace('"7"', "null"), "cnt is neither text nor a number"),
        (JSON.replace('"7"', "true"), "cnt is neither text nor a number"),
        (JSON.replace('"7"', '["7"]'), "cnt is neither text nor a number"),
        (JSON.replace('"145142"', "{}"), "id is neither text nor a number"),
        (JSON.replace('"7"', "7.5"), "cnt is not a count: '7.5'"),
        (JSON.replace('"7"', "NaN"), "cnt is not a count: 'NaN'"),
        (JSON.replace('"7"', "-Infinity"), "cnt is not a count: '-Infinity'"),
        (JSON.replace('"7"', "9" * 5000), "cnt is not a count: '999"),
        (JSON.replace('"cnt_mon"', '"cnt"'), "a key is in the answer twice"),
        (JSON.replace("smsc.tips/a", "\\ud800"), "link contains control characters: '\\ud800'"),
        (JSON.replace("smsc.tips/a", "a\\u0000b"), "link contains control characters"),
        (JSON.replace("smsc.tips/a", 'a"b", "cnt": "8'), "the answer is not complete JSON"),
        (JSON.replace("\n", "").replace("tips/a", 'tips/"a"}{"'), "the answer is not complete JSON"),
        ('{"error": "a "b"", "cnt": "c", "error_code": 9}', "the answer is not complete JSON"),
    ],
)
def test_broken_json_is_malformed(text: str, message: str) -> None:
    assert fault(text).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<result></result>", "id is missing"),
        ("<result>" + " " * 65_000, "the answer is not complete XML"),
        (XML + XML, "the answer is not complete XML: '</result>"),
        (XML.replace("</cnt>", ""), "the answer is not complete XML: '<cnt>7\\n<cnt_mon>"),
        (XML.replace("</cnt>", "</cnt>junk"), "the answer is not complete XML: 'junk\\n<cnt_mon>"),
        (XML.replace("cnt_mon", "cnt"), "a key is in the answer twice"),
        (XML.replace(">7<", "><"), "cnt is not a count"),
        ('<!DOCTYPE r [<!ENTITY a "aa">]>' + XML, "the answer is not complete XML"),
        (XML.replace("smsc.tips/a", "a&#x2028;b"), "link contains control characters"),
        (XML.replace("smsc.tips/a", "&#10;"), "link is empty"),
    ],
)
def test_broken_xml_is_malformed(text: str, message: str) -> None:
    assert fault(text).startswith(message)


@pytest.mark.parametrize(
    "count", ["-1", "+7", "7.0", "7e3", "0x7", "1_000", "٧", "", "seven", str(2**53 + 1), "9" * 5000]
)
def test_what_is_not_a_count_is_malformed(count: str) -> None:
    for text in (JSON.replace('"7"', f'"{count}"'), CSV.replace("7", count), PLAIN.replace("7", count)):
        assert fault(text).startswith("cnt is not a count")


@pytest.mark.parametrize("count", [7, 2**53])
def test_the_least_and_the_largest_count(count: int) -> None:
    assert read(CSV.replace("7", str(count))) == make_reading(all_time=count)


@pytest.mark.parametrize("text", FORMATS.values(), ids=FORMATS)
def test_an_answer_for_another_link_is_malformed(text: str) -> None:
    assert fault(text, make_link(id="145143")) == "id: asked for link 145143, the answer is for: '145142'"


def figures(**counts: int) -> str:
    """An answer about a link with these counts; the others are 0."""
    return json.dumps({**dict.fromkeys(FIELDS, 0), "id": "145142", "link": "smsc.tips/a", **counts})


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize(("all_time", "part"), [(0, 1), (7, 8), (99, 100), (1000, 1011), (10_000, 2**53)])
def test_a_day_or_a_month_with_more_clicks_than_all_is_malformed(name: str, all_time: int, part: int) -> None:
    message = f"{name} is {part}, more than the {all_time} of cnt, all clicks"
    assert fault(figures(cnt=all_time, **{name: part})) == message


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize(("all_time", "part"), [(0, 0), (7, 7), (100, 101), (1000, 1010), (2**53, 2**53)])
def test_clicks_made_while_the_provider_counts_are_let_pass(name: str, all_time: int, part: int) -> None:
    assert read(figures(cnt=all_time, **{name: part})).all_time == all_time


@pytest.mark.parametrize(
    "counts",
    [
        {"cnt_mon": 0, "cnt_day": 40, "cnt_yes": 10, "cnt_pmon": 100},
        {"cnt_mon": 100, "cnt_day": 0, "cnt_yes": 40, "cnt_pmon": 100},
        {"cnt_mon": 1, "cnt_day": 60, "cnt_yes": 60, "cnt_pmon": 0},
        {"cnt_mon": 0, "cnt_day": 0, "cnt_yes": 100, "cnt_pmon": 0},
    ],
    ids=[
        "the month has ended before the day",
        "the previous month has begun before the month ended",
        "yesterday has begun before the day ended",
        "neither month has what yesterday has",
    ],
)
def test_counts_that_start_again_at_different_moments_are_let_pass(counts: dict[str, int]) -> None:
    assert read(figures(cnt=100, **counts)).today == counts["cnt_day"]


@pytest.mark.parametrize("name", ["id", "link"])
@pytest.mark.parametrize("letter", ["x", "ы"])
@pytest.mark.parametrize("form", FORMATS)
def test_an_id_or_link_of_more_than_2_kib_is_malformed(name: str, letter: str, form: str) -> None:
    longest = letter * (2048 // len(letter.encode()))
    was = "145142" if name == "id" else "smsc.tips/a"
    quoted = FORMATS[form].replace('"id":145142', '"id":"145142"').replace(r"\/", "/")
    reading = read(quoted.replace(was, longest), ANY)
    assert (reading.id if name == "id" else reading.short_link) == longest
    message = fault(quoted.replace(was, longest + "x"), ANY)
    assert message == f"{name} is longer than 2 KiB: {letter * 60!r}"


def test_an_id_is_not_compared_when_the_full_link_was_asked_for() -> None:
    assert read(CSV, ANY) == READING


def test_a_message_quotes_little_of_the_body() -> None:
    assert fault("x" * 10_000) == f"the answer has an unknown shape: '{'x' * 60}'"


@pytest.mark.parametrize(
    "text",
    [
        f"{'x' * 55}SECRET",
        f"ERROR = 2 ({'x' * 195}SECRET)",
        CSV.replace("7", f"{'x' * 55}SECRET"),
        CSV.replace("145142", f"{'x' * 55}SECRET"),
        JSON + "SECRET",
    ],
)
def test_what_is_quoted_is_scrubbed_before_it_is_cut(text: str) -> None:
    with pytest.raises(PollError) as caught:
        parse(text.encode(), None, LINK, lambda quoted: quoted.replace("SECRET", "***"))
    assert "S" not in str(caught.value).replace("JSON", "")
    assert caught.value.__context__ is None


COUNTS = st.integers(0, 2**53)
NAMES = st.text("0123456789abcХЯ-_", min_size=1, max_size=20)


def consistent(reading: Reading) -> Reading:
    """The reading with no count above the count of all clicks."""
    parts = ("month", "today", "yesterday", "previous_month")
    return replace(reading, **{part: min(getattr(reading, part), reading.all_time) for part in parts})


READINGS = st.builds(
    Reading,
    id=NAMES,
    all_time=COUNTS,
    month=COUNTS,
    today=COUNTS,
    yesterday=COUNTS,
    previous_month=COUNTS,
    short_link=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40),
).map(consistent)


def values(reading: Reading) -> dict[str, str]:
    told = (
        reading.id,
        reading.all_time,
        reading.month,
        reading.today,
        reading.yesterday,
        reading.previous_month,
    )
    return dict(zip(FIELDS, [*map(str, told), reading.short_link], strict=True))


def by_hand(reading: Reading) -> str:
    return "{\n" + ",\n".join(f'"{name}": "{value}"' for name, value in values(reading).items()) + "\n}"


def xml(reading: Reading) -> str:
    inside = "\n".join(f"<{name}>{escape(value)}</{name}>" for name, value in values(reading).items())
    return f"<result>\n{inside}\n</result>"


WRITERS: list[Callable[[Reading], str]] = [
    lambda reading: json.dumps(values(reading)),
    lambda reading: json.dumps(values(reading), ensure_ascii=False, indent=0),
    xml,
    lambda reading: ",".join(values(reading).values()),
    lambda reading: ", ".join(f"{name} = {value}" for name, value in values(reading).items()),
]


@given(READINGS, st.sampled_from(WRITERS))
def test_what_is_written_is_read(reading: Reading, write: Callable[[Reading], str]) -> None:
    assert read(write(reading), make_link(id=reading.id)) == reading


@given(READINGS, st.sampled_from(WRITERS), st.text("abcЯяё/?", min_size=1))
def test_what_is_written_in_cp1251_is_read(
    reading: Reading, write: Callable[[Reading], str], short_link: str
) -> None:
    told = replace(reading, short_link=short_link)
    body = write(told).encode("cp1251")
    try:
        body.decode()
    except UnicodeDecodeError:
        assert read(body, ANY, "windows-1251") == told
        assert read(body, ANY) == told
    else:  # Cyrillic in cp1251 that is whole UTF-8 as well, such as the two letters Рђ, is taken for UTF-8.
        assert read(body, ANY).all_time == reading.all_time


@given(READINGS, st.text('ab"/,? ', min_size=1).map(str.strip).filter(bool))
def test_bare_quotes_in_a_link_are_read(reading: Reading, short_link: str) -> None:
    told = replace(reading, short_link=short_link)
    assert read(by_hand(told), ANY) == told


@given(READINGS, st.sampled_from([*WRITERS[:3], by_hand]), st.data())
def test_json_or_xml_that_breaks_off_is_never_read(
    reading: Reading, write: Callable[[Reading], str], data: st.DataObject
) -> None:
    body = write(replace(reading, short_link="smsc.tips/a")).encode()
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(MalformedError):
        read(body[:cut], ANY)


@pytest.mark.parametrize("text", [JSON, JSON_NUMBERS, XML, JSON.replace("/a", '/"a"')])
def test_no_part_of_json_or_xml_is_read(text: str) -> None:
    for cut in range(len(text)):
        with pytest.raises(MalformedError):
            read(text[:cut])


def survives(body: bytes, charset: str | None) -> None:
    """Any bytes bring a reading or a PollError, and nothing else."""
    try:
        reading = parse(body, charset, ANY)
    except PollError as error:
        str(error).encode()
    else:
        f"{reading.id} {reading.short_link}".encode()


CHARSETS = st.none() | st.sampled_from(sorted(encodings.aliases.aliases)) | st.text(max_size=20)


@given(st.binary(max_size=300), CHARSETS)
def test_any_bytes_bring_a_reading_or_a_poll_error(body: bytes, charset: str | None) -> None:
    survives(body, charset)


@given(st.text(max_size=300))
@example("{" * 60_000)
@example('{"a":[' * 11_000)
@example("<result>" * 8_000)
@example("<result>" + "<a>" * 20_000 + "</result>")
@example('{"id":"' + '"\t' * 30_000 + "}")
@example("ERROR=" + " " * 60_000 + "x")
@example("ERROR=1" + " " * 60_000 + "(")
@example("id" + " " * 60_000 + ",,,")
@example("<!--" + "--><!--" * 9_000)
@example(JSON.replace("smsc.tips/a", '"' + " " * 60_000 + '"') + "x")
def test_any_text_brings_a_reading_or_a_poll_error(text: str) -> None:
    survives(text.encode(errors="surrogatepass"), None)


@given(
    st.sampled_from([*FORMATS.values(), "ERROR = 9 (a)", "0,-9", '{"error": "a", "error_code": 9}']),
    st.lists(
        st.tuples(st.integers(0, 200), st.integers(0, 9), st.binary(max_size=4)), min_size=1, max_size=4
    ),
    CHARSETS,
)
def test_a_damaged_answer_brings_a_reading_or_a_poll_error(
    text: str, damages: list[tuple[int, int, bytes]], charset: str | None
) -> None:
    body = text.encode()
    for at, length, instead in damages:
        body = body[:at] + instead + body[at + length :]
    survives(body, charset)
