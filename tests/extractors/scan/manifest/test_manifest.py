"""scan/manifest: entry.py, rows.py, manifest.py: files of every kind, their documents, and their errors in one line."""

import io
import json
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.core.errors import ConfigurationError
from extractors.core.redact import redact_url
from extractors.scan import open_source, scan_documents
from extractors.scan.manifest import is_manifest, read_manifest, scan_manifest
from extractors.scan.manifest.entry import PLAIN, PRESIGNED, VIDEOS
from extractors.scan.manifest.rows import ManifestError, read_rows

A, B, C = (f"https://images.example/{name}.jpg" for name in "abc")
SECRET = "5e1f0c4a97d3b2685e1f0c4a97d3b2685e1f0c4a97d3b2685e1f0c4a97d3b268"
SIGNED = f"{A}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2Fs3&X-Amz-Signature={SECRET}"
BOM = b"\xef\xbb\xbf"


@pytest.fixture
def write(tmp_path):
    """Writes a manifest and gives its path."""

    def written(name, data):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(path)

    return written


def shape(source):
    """Each document's name, the uris of its pages, and what else is said of it."""
    return [
        (each.document, [page.uri for page in each.pages], each.manifest and json.loads(each.manifest))
        for each in scan_manifest(source)
    ]


def parquet(**columns):
    """The bytes of a Parquet file."""
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def jsonl(*rows):
    """Rows, an object a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["a.txt", "a.CSV", "x/a.jsonl", "a.parquet", "s3://bucket/a.csv", "AZ://bucket/a.txt"])
def test_a_manifest_is_known_by_its_name(name):
    """In whatever case, here or in a bucket."""
    assert is_manifest(name)


@pytest.mark.parametrize("name", ["a.jpg", "csv", "s3://bucket/a.csv/", "https://host/a.csv", "a.json"])
def test_what_is_named_otherwise_is_no_manifest(name):
    """A manifest is not fetched from a web server."""
    assert not is_manifest(name)


@pytest.mark.parametrize(
    ("head", "separator"),
    [(b"", ","), (b"", ";"), (b"", "\t"), (b"", "|"), (BOM, ";"), (b"sep=;\r\n", ";"), (BOM + b"sep=\t\n", "\t")],
)
def test_csv_is_read_with_the_separator_of_its_header(write, head, separator):
    """Spreadsheets write semicolons where a comma is the decimal mark, and tabs where asked to."""
    rows = [["uri", "branch", "total"], ["a.jpg", "north", "1.50"], ["b.jpg", '"so,u;th"', "2"]]
    path = write("a.csv", head + "\n".join(separator.join(row) for row in rows).encode())
    first, second = shape(path)
    assert first[2] == {"branch": "north", "total": "1.50"}
    assert (second[0].rpartition("/")[2], second[2]) == ("b.jpg", {"branch": "so,u;th", "total": "2"})


def test_lines_that_end_with_a_return_alone_are_lines(write):
    """As old spreadsheets write them."""
    path = write("a.csv", b"uri,branch\ra.jpg,north\rb.jpg,south")
    assert [document[2] for document in shape(path)] == [{"branch": "north"}, {"branch": "south"}]


@pytest.mark.parametrize(
    "number",
    [
        "123456789012345678901234567890",
        "-99999999999999999999",
        "1.10",
        "0.1000000000000000055511151231257827",
        "1E+2",
        "12",
        "-0",
    ],
)
def test_json_numbers_keep_their_text(write, number):
    """A column of ids is no column of floats."""
    path = write("a.jsonl", f'{{"uri": "a.jpg", "id": {number}, "more": [{number}], "name": "v1.2"}}\n')
    (document,) = scan_manifest(path)
    expected = number if number != "-0" else "0"
    assert document.manifest in {
        f'{{"id":{number},"more":[{number}],"name":"v1.2"}}',
        f'{{"id":{expected},"more":[{expected}],"name":"v1.2"}}',
    }


def test_long_number_names_a_document(write):
    """Rows with the same number are one document, with neighbours a float would mix up."""
    rows = [(10**30 + 1, "a"), (10**30 + 2, "b"), (10**30 + 1, "c")]
    path = write("a.jsonl", "".join(f'{{"uri": "{name}.jpg", "document": {number}}}\n' for number, name in rows))
    assert [each[0] for each in shape(path)] == [str(10**30 + 1), str(10**30 + 2)]


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("uri\na.pdf#page=3\n", [["a.pdf#page=3"]]),
        ("uri\nhttps://h.example/doc?id=1#page=2\n", [["https://h.example/doc?id=1#page=2"]]),
        ("uri\ns3://b/a.TIF#page=2\n", [["s3://b/a.TIF#page=2"]]),
        ('uri,pages\na.pdf,"1-3, 7"\n', [["a.pdf#page=1", "a.pdf#page=2", "a.pdf#page=3", "a.pdf#page=7"]]),
        ("uri;pages\na.pdf;2,1\nb.pdf;\n", [["a.pdf#page=2", "a.pdf#page=1"], ["b.pdf"]]),
        ("uri,pages,document\na.pdf,1,x\na.pdf,2,y\nb.pdf,2,y\n", [["a.pdf#page=1"], ["a.pdf#page=2", "b.pdf#page=2"]]),
    ],
)
def test_pages_are_chosen_by_name_or_column(write, data, names):
    """As pages are named in every table."""
    path = write("a.csv", data)
    folder = path.rpartition("/")[0] + "/"
    assert [[page.name.removeprefix(folder) for page in each.pages] for each in scan_manifest(path)] == names


def test_chosen_pages_are_part_of_the_documents_name(write):
    """One page is named as `--document-by page` names it; two choices of one file are two documents."""
    path = write("a.csv", 'uri,pages\na.pdf,3\na.pdf,"1-2"\n')
    assert [each[0].rpartition("/")[2] for each in shape(path)] == ["a.pdf#page=3", "a.pdf#page=1-2"]


@pytest.mark.parametrize("pages", ["0", "3-1", "a", "1-", "1,,2", "1-99999999", "-1"])
def test_pages_that_are_none_name_their_row(write, pages):
    """Before anything is read or sent."""
    path = write("a.csv", f'uri,pages\na.pdf,1\nb.pdf,"{pages}"\n')
    with pytest.raises(ConfigurationError, match=r"pages .* in data row 2"):
        read_manifest(path)


def test_file_named_with_a_number_sign_is_not_a_page(write):
    """Only a PDF, a TIFF or a web address has pages behind the sign."""
    (document,) = scan_manifest(write("a.csv", "uri\nscan#page=3\n"))
    assert document.pages[0].page is None


def test_a_folder_is_no_manifest(tmp_path):
    """Whatever its name ends in."""
    (tmp_path / "scans.csv").mkdir()
    assert not is_manifest(str(tmp_path / "scans.csv"))
    assert list(scan_documents(str(tmp_path / "scans.csv"))) == []


@pytest.mark.parametrize("start", [b"", BOM])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a.txt", [b"", A, b"  ", B, b""]),
        ("a.csv", [b"uri", A, b"", B, b""]),
        ("a.csv", [b'"uri"', f'"{A}"', f" {B} "]),
        ("a.jsonl", [f'{{"uri": "{A}"}}', b"", f'{{"uri": "{B}", "document": null}}']),
    ],
)
def test_text_is_read_as_editors_write_it(write, name, lines, start, end):
    """With or without a byte-order mark, with either end of line; blank lines are left out."""
    data = start + end.join(each if isinstance(each, bytes) else each.encode() for each in lines)
    assert shape(write(name, data)) == [(A, [A], None), (B, [B], None)]


def test_parquet_is_read(write):
    """A query's result as it is, with its own types."""
    when = date(2026, 11, 20)
    data = parquet(
        uri=[A, B], total=[Decimal("1.50"), None], day=[when, when], tags=[["x"], []], size=[3, 4], raw=[b"\1", b""]
    )
    said = {"total": "1.50", "day": "2026-11-20", "tags": ["x"], "size": 3, "raw": "01"}
    assert shape(write("a.parquet", data))[0] == (A, [A], said)


def test_other_columns_travel_as_they_are(write):
    """CSV is text, JSON keeps its types; a key that a row does not have is not made up."""
    assert shape(write("a.csv", f"branch,uri,year\nnorth,{A},2026\n,{B},\n")) == [
        (A, [A], {"branch": "north", "year": "2026"}),
        (B, [B], {"branch": None, "year": None}),
    ]
    rows = [{"uri": A, "year": 2026, "deep": {"ok": [True]}}, {"uri": B, "year": "2027"}, {"uri": C}]
    assert shape(write("a.jsonl", jsonl(*rows))) == [
        (A, [A], {"year": 2026, "deep": {"ok": [True]}}),
        (B, [B], {"year": "2027"}),
        (C, [C], None),
    ]


def test_a_document_takes_the_words_of_its_first_page(write):
    """Not of the row that stands first."""
    text = f"uri,document,page,note\n{B},one,2,second\n{A},one,1,first\n"
    assert shape(write("a.csv", text)) == [("one", [A, B], {"note": "first"})]


def test_rows_of_a_document_are_one_wherever_they_stand(write):
    """In the order of their rows without pages; documents by their first rows; a null document is its uri."""
    text = f"uri,document\n{C},two\n{A},\n/x/1.jpg,two\n{B},one\n"
    assert shape(write("a.csv", text)) == [("two", [C, "/x/1.jpg"], None), (A, [A], None), ("one", [B], None)]


@pytest.mark.parametrize("pages", [[10, 9, None], [10.0, 9.0, None], ["10", "9", ""]])
def test_pages_are_numbers_in_any_column(write, pages):
    """As integers, as floats where some are missing, as text; 9 comes before 10."""
    data = parquet(uri=[A, B, C], document=["one", "one", None], page=pages)
    assert shape(write("a.parquet", data)) == [("one", [B, A], None), (C, [C], None)]


def test_paths_are_relative_to_the_manifest(write, tmp_path):
    """Or absolute; tidied, so that one file has one name."""
    source = write("lists/a.txt", "x.jpg\n../y.jpg\n./z.jpg\n/data//w.jpg\n")
    wanted = [f"{tmp_path}/lists/x.jpg", f"{tmp_path}/y.jpg", f"{tmp_path}/lists/z.jpg", "/data/w.jpg"]
    assert [each.document for each in scan_manifest(source)] == wanted


def test_a_manifest_named_relatively_gives_absolute_paths(write, tmp_path, monkeypatch):
    """As a folder does."""
    write("a.txt", "x.jpg\n")
    monkeypatch.chdir(tmp_path)
    assert [each.document for each in scan_manifest("a.txt")] == [f"{tmp_path}/x.jpg"]


def test_a_file_is_looked_at_when_its_turn_comes(write, tmp_path):
    """It has size, version and time as in a folder, or a flaw that another try may cure."""
    (tmp_path / "x.jpg").write_bytes(b"picture")
    source = write("a.txt", "x.jpg\nnone.jpg\n.\n")
    listed = scan_manifest(source)
    (tmp_path / "x.jpg").write_bytes(b"a picture")
    found, missing, folder = (each.pages[0] for each in listed)
    status = (tmp_path / "x.jpg").stat()
    assert (found.size, found.version) == (9, f"9-{status.st_mtime_ns}")
    assert (missing.problem.kind, missing.problem.stage, missing.problem.final) == ("missing", "scan", False)
    assert folder.problem.kind == "not_an_image"


def test_a_file_of_any_name_may_be_an_image(write, tmp_path):
    """A manifest is not held to known extensions."""
    (tmp_path / "scan.tmp").write_bytes(b"picture")
    assert [each.pages[0].problem for each in scan_manifest(write("a.txt", "scan.tmp\n"))] == [None]


@pytest.mark.parametrize("uri", [A, "s3://bucket/a.jpg", "gs://bucket/x y/ä.png", "az://box/a#1?.jpg", f"{A}?id=42"])
def test_what_lies_elsewhere_is_not_looked_at(write, uri):
    """Its version is for the store to say; a key keeps every letter."""
    [document] = scan_manifest(write("a.txt", f"{uri}\n"))
    [page] = document.pages
    assert (page.uri, page.version, page.problem, page.address) == (uri, None, None, None)


@pytest.mark.parametrize(
    ("written", "uri"),
    [
        (SIGNED, A),
        (f"{A}?id=4&X-Amz-Signature={SECRET}", f"{A}?id=4"),
        (f"{A}?X-Goog-Signature={SECRET}", A),
        (f"{A}?sv=1&sig={SECRET}", A),
        (f"https://me:{SECRET}@images.example/a.jpg", A),
    ],
)
def test_a_signed_url_is_named_without_what_signs_it(write, written, uri):
    """The whole is kept in memory, and not shown."""
    [document] = scan_manifest(write("a.csv", f"uri,link,document\n{written},see {written},x {written}\n"))
    [page] = document.pages
    assert (page.uri, page.address.get_secret_value()) == (uri, written)
    assert document.document.startswith("x https://images.example/a.jpg")
    assert SECRET not in repr(document)


def test_a_fragment_is_no_part_of_an_image(write):
    """Nor is the case of its host; what is dropped for that was no secret."""
    [document] = scan_manifest(write("a.txt", "HTTPS://Images.Example/a.jpg#top\n"))
    assert (document.document, document.pages[0].address) == (A, None)


def test_urls_in_other_columns_lose_their_signatures(write):
    """However deep they stand."""
    source = write("a.jsonl", jsonl({"uri": A, "thumb": SIGNED, "all": [{"big": f"at {SIGNED}"}]}))
    assert shape(source) == [(A, [A], {"thumb": A, "all": [{"big": f"at {A}"}]})]
    assert SECRET not in read_manifest(source).other.write_json()


@pytest.mark.parametrize("uri", ["ftp://host/a.jpg", "file:///etc/a.jpg", "gopher://x", "ftp://me:word@host/a.mp4"])
def test_other_schemes_are_not_followed(write, uri):
    """The document is rejected by name, with what is allowed, and without its password."""
    [document] = scan_manifest(write("a.txt", f"{uri}\n"))
    flaw = document.pages[0].problem
    assert (flaw.kind, flaw.stage, flaw.final) == ("blocked_address", "scan", False)
    assert "http://, https://, s3://, gs://, az://" in flaw.message
    assert ":word" not in repr(document)


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("s3://key:word@bucket/a.jpg", "forbidden"),
        (f"s3://b/a.jpg?X-Amz-Signature={SECRET}", "forbidden"),
        ("s3://b", "missing"),
    ],
)
def test_a_bucket_url_that_names_more_or_less_than_an_object_is_rejected(write, uri, kind):
    """Credentials come from the environment."""
    [document] = scan_manifest(write("a.txt", f"{uri}\n"))
    assert document.pages[0].problem.kind == kind
    assert ":word" not in repr(document)
    assert SECRET not in repr(document)


@pytest.mark.parametrize("end", VIDEOS)
def test_a_video_is_known_by_its_name(write, end):
    """At a URL it may be sent, from a disk it may not."""
    text = f"https://h.example/v{end.upper()}?id=1\ns3://bucket/v{end}\nv{end}\nhttps://h.example/v.jpg?v={end}\n"
    web, cloud, disk, picture = (each.pages[0] for each in scan_manifest(write("a.txt", text)))
    assert (web.video, cloud.video, disk.video, picture.video) == (True, True, False, False)
    assert (disk.problem.kind, disk.problem.final) == ("video_not_allowed", False)
    assert "sent as a URL" in disk.problem.message


@pytest.mark.parametrize(
    ("text", "urls", "videos"),
    [
        ("a.jpg\nb.mp4\n", False, False),
        (f"a.jpg\n{A}\n", True, False),
        ("s3://b/a.MP4\n", True, True),
        (f"{A}\nhttp://h/v.mov?x=1\n", True, True),
    ],
)
def test_a_manifest_knows_what_it_holds(write, text, urls, videos):
    """Many readers are for what lies elsewhere, and a budget must know of videos before anything is sent."""
    source = open_source(write("a.txt", text))
    assert (source.store.readers, source.videos) == (64 if urls else 1, videos)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", "url,Page\nx,1\n", ("no column 'uri'", "'url', 'Page'")),
        ("a.csv", f"{SIGNED}\n{B}\n", ("no column 'uri'", "images.example/a.jpg")),
        ("a.jsonl", jsonl({"url": 1, "b": 2}), ("no column 'uri'", "'url', 'b'")),
        ("a.parquet", parquet(url=["x"]), ("no column 'uri'", "'url'")),
        ("a.csv", "uri,b\nx,1\n,2\n", ("no uri", "data row 2")),
        ("a.jsonl", jsonl({"uri": "x"}, {"uri": "  "}), ("no uri", "row 2")),
        ("a.parquet", parquet(uri=["x", None]), ("no uri", "row 2")),
        ("a.txt", "x.jpg\n\ny.jpg\n./x.jpg\n", ("x.jpg' twice", "lines 1 and 4")),
        ("a.csv", f"uri\n{SIGNED}\n{B}\n{A}\n", (A, "twice", "rows 1 and 3")),
        ("a.csv", f"uri,document\n{A},{B}\n{B},\n", (B, "twice", "rows 1 and 2")),
        ("a.csv", "uri,document,page\nx,one,1\ny,one,2\nz,one,1\n", ("page 1 of 'one' twice", "rows 1 and 3")),
        ("a.csv", "uri,document\nx,one\nx,one\n", ("image", "x' twice", "rows 1 and 2")),
        ("a.csv", "uri,document,page\nx,one,1\ny,one,\n", ("'one'", "row 2", "all or none")),
        ("a.csv", "uri,page\nx,0\n", ("page '0'", "row 1", "from 1 on")),
        ("a.csv", "uri,page\nx,1.5\n", ("page '1.5'", "from 1 on")),
        ("a.csv", "uri,page\nx,-1\n", ("page '-1'", "from 1 on")),
        ("a.csv", f"uri,page\nx,{SIGNED}\n", ("images.example", "from 1 on")),
        ("a.parquet", parquet(uri=["x"], page=[1.5]), ("page '1.5'", "from 1 on")),
        ("a.jsonl", jsonl({"uri": "x", "page": True}), ("row 1: page True",)),
        ("a.jsonl", jsonl({"uri": ["x"]}), ("row 1: uri",)),
        ("a.parquet", parquet(uri=[["x"]]), ("'uri'", "neither text nor numbers")),
        ("a.csv", "uri,a,a\nx,1,2\n", ("two columns", "'a'")),
        ("a.csv", "uri,a\nx,1,2\n", ("not valid CSV", "more cells")),
        ("a.csv", f'uri,a\n"{SIGNED},1\n', ("not valid CSV",)),
        ("a.jsonl", f'{{"uri": "{SIGNED}"\n', ("not valid JSON Lines", "row 1")),
        ("a.jsonl", "[1]\n", ("row 1 is not an object",)),
        ("a.parquet", "uri\nx\n", ("not valid Parquet",)),
        ("a.csv", "uri\nx\n".encode("utf-16"), ("not UTF-8",)),
        ("a.csv", "uri\nx\n".encode("utf-16-le"), ("not UTF-8",)),
        ("a.csv", "uri\nä.jpg\n".encode("latin-1"), ("not UTF-8",)),
        ("a.txt", "ä.jpg\n".encode("latin-1"), ("not UTF-8",)),
        ("a.jsonl", '{"uri": "ä"}\n'.encode("latin-1"), ("not UTF-8",)),
        ("a.txt", "", ("is empty",)),
        ("a.csv", BOM + b"\n \n", ("is empty",)),
        ("a.csv", "uri,a\n", ("names nothing",)),
        ("a.csv", "uri,a\n,\n", ("names nothing",)),
        ("a.parquet", parquet(uri=pl.Series([], dtype=pl.String)), ("names nothing",)),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(write, name, data, words):
    """With the manifest's name, the rows and what is allowed; before any document, and without a signature."""
    source = write(name, data)
    with pytest.raises(ConfigurationError) as raised:
        scan_manifest(source)
    message = raised.value.message
    assert message.startswith(f"manifest {source!r} ")
    assert [each for each in words if each not in message] == []
    assert "\n" not in message
    assert SECRET not in message


def test_a_manifest_that_is_not_there_is_named(tmp_path):
    """As a folder that is not there."""
    with pytest.raises(ConfigurationError, match="does not exist"):
        scan_documents(str(tmp_path / "none.csv"))


@pytest.mark.parametrize("by", ["folder", "name"])
def test_a_manifest_groups_by_its_columns(write, by):
    """To group otherwise is refused in words; frames are told apart in each file."""
    source = write("a.txt", "x.jpg\n")
    with pytest.raises(ConfigurationError, match=f"--document-by {by} .*columns document and page"):
        scan_documents(source, by)
    assert len(list(scan_documents(source, "frames"))) == 1


def test_a_manifest_in_a_bucket_names_what_lies_there(bucket):
    """Paths are keys beside it, absolute ones are files here."""
    bucket.put("lists/today.csv", b"uri,branch\n../in/a.jpg,north\nb.jpg,south\n/data/c.jpg,\n")
    source = f"{bucket.url}/lists/today.csv"
    names = [f"{bucket.url}/in/a.jpg", f"{bucket.url}/lists/b.jpg", "/data/c.jpg"]
    assert [each.document for each in scan_documents(source)] == names
    with pytest.raises(ConfigurationError, match="does not exist"):
        scan_documents(f"{bucket.url}/lists/none.csv")


ROWS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 30)), min_size=1, max_size=40, unique=True)


@given(ROWS)
def test_every_row_is_a_page_of_its_document_in_order(rows):
    """Whatever their order, documents come by their first rows and pages by their numbers, none lost."""
    data = jsonl(*({"uri": f"https://h.example/{name}/{page}", "document": name, "page": page} for name, page in rows))
    got = [(each.document, [int(page.uri.rpartition("/")[2]) for page in each.pages]) for each in make_manifest(data)]
    names = list(dict.fromkeys(name for name, _ in rows))
    assert got == [(name, sorted(page for other, page in rows if other == name)) for name in names]


def make_manifest(data):
    from extractors.scan.manifest.entry import Base  # noqa: PLC0415  only here
    from extractors.scan.manifest.manifest import _check_rows  # noqa: PLC0415

    return _check_rows(read_rows(".jsonl", data.encode()), Base("/in")).documents()


TEXTS = st.text(alphabet=st.sampled_from("hHtps3:/.?#%@&= aA-_1+;\\"), max_size=30)


@given(TEXTS | TEXTS.map("https://h.example/{}".format) | TEXTS.map("https://h.example/a?X-Amz-Date={}".format))
def test_the_quick_way_to_name_a_url_is_the_long_one(text):
    """What the patterns take as it is, or without its query, is what is written down of it anyway."""
    frame = pl.DataFrame({"it": [text]})
    plain, before = frame.select(pl.col("it").str.contains(PLAIN), before=pl.col("it").str.extract(PRESIGNED)).row(0)
    assert not (plain and text.startswith("http")) or redact_url(text) == text
    assert before is None or redact_url(text) == before


@given(st.binary(max_size=60), st.sampled_from([".txt", ".csv", ".jsonl", ".parquet"]))
def test_any_bytes_are_rows_or_are_refused(data, kind):
    """Nothing else is raised."""
    try:
        rows = read_rows(kind, data)
    except ManifestError:
        return
    assert rows.table.height > 0
