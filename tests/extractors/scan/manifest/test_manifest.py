"""scan/manifest: entry.py, rows.py, manifest.py: manifests of each format, their documents, and their errors in one line."""

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
    """Write a manifest and return its path."""

    def write_file(name, data):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(path)

    return write_file


def list_documents(source):
    """List each document's name, the uris of its pages, and its other columns."""
    return [
        (document.document, [page.uri for page in document.pages], document.manifest and json.loads(document.manifest))
        for document in scan_manifest(source)
    ]


def build_parquet(**columns):
    """Build the bytes of a Parquet file."""
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def build_jsonl(*rows):
    """Write each row as an object on a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", ["a.txt", "a.CSV", "x/a.jsonl", "a.parquet", "s3://bucket/a.csv", "AZ://bucket/a.txt"])
def test_is_manifest_recognizes_extensions(name):
    """The case does not matter, and the file may be in a bucket."""
    assert is_manifest(name)


@pytest.mark.parametrize("name", ["a.jpg", "csv", "s3://bucket/a.csv/", "https://host/a.csv", "a.json"])
def test_is_manifest_rejects_other_names(name):
    """A manifest is not fetched from a web server."""
    assert not is_manifest(name)


@pytest.mark.parametrize(
    ("prefix", "separator"),
    [(b"", ","), (b"", ";"), (b"", "\t"), (b"", "|"), (BOM, ";"), (b"sep=;\r\n", ";"), (BOM + b"sep=\t\n", "\t")],
)
def test_csv_separator_is_detected_from_the_header(write, prefix, separator):
    """Spreadsheets write semicolons where a comma is the decimal mark, or tabs."""
    rows = [["uri", "branch", "total"], ["a.jpg", "north", "1.50"], ["b.jpg", '"so,u;th"', "2"]]
    path = write("a.csv", prefix + "\n".join(separator.join(row) for row in rows).encode())
    first, second = list_documents(path)
    assert first[2] == {"branch": "north", "total": "1.50"}
    assert (second[0].rpartition("/")[2], second[2]) == ("b.jpg", {"branch": "so,u;th", "total": "2"})


def test_csv_lines_may_end_with_a_carriage_return_alone(write):
    """Old spreadsheets write them."""
    path = write("a.csv", b"uri,branch\ra.jpg,north\rb.jpg,south")
    assert [document[2] for document in list_documents(path)] == [{"branch": "north"}, {"branch": "south"}]


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
    """A column of ids is not converted to floats."""
    path = write("a.jsonl", f'{{"uri": "a.jpg", "id": {number}, "more": [{number}], "name": "v1.2"}}\n')
    (document,) = scan_manifest(path)
    expected = number if number != "-0" else "0"
    assert document.manifest in {
        f'{{"id":{number},"more":[{number}],"name":"v1.2"}}',
        f'{{"id":{expected},"more":[{expected}],"name":"v1.2"}}',
    }


def test_long_number_is_an_exact_document_name(write):
    """Its neighbours are numbers that a float cannot tell apart."""
    rows = [(10**30 + 1, "a"), (10**30 + 2, "b"), (10**30 + 1, "c")]
    path = write("a.jsonl", "".join(f'{{"uri": "{name}.jpg", "document": {number}}}\n' for number, name in rows))
    assert [document[0] for document in list_documents(path)] == [str(10**30 + 1), str(10**30 + 2)]


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
def test_pages_are_selected_by_fragment_or_column(write, data, names):
    """Page names are those of the tables."""
    path = write("a.csv", data)
    folder = path.rpartition("/")[0] + "/"
    assert [[page.name.removeprefix(folder) for page in document.pages] for document in scan_manifest(path)] == names


def test_document_name_contains_the_selected_pages(write):
    """A single page has the name that `--document-by page` gives it; two selections of one file are two documents."""
    path = write("a.csv", 'uri,pages\na.pdf,3\na.pdf,"1-2"\n')
    assert [document[0].rpartition("/")[2] for document in list_documents(path)] == ["a.pdf#page=3", "a.pdf#page=1-2"]


@pytest.mark.parametrize("pages", ["0", "3-1", "a", "1-", "1,,2", "1-99999999", "-1"])
def test_invalid_page_selection_is_refused_with_its_row(write, pages):
    """The error is raised before any image is read."""
    path = write("a.csv", f'uri,pages\na.pdf,1\nb.pdf,"{pages}"\n')
    with pytest.raises(ConfigurationError, match=r"pages .* in data row 2"):
        read_manifest(path)


def test_number_sign_in_a_file_name_without_pages_is_not_a_fragment(write):
    """Only a PDF, a TIFF or a web address has pages."""
    (document,) = scan_manifest(write("a.csv", "uri\nscan#page=3\n"))
    assert document.pages[0].page is None


def test_folder_with_the_extension_of_a_manifest_is_a_folder(tmp_path):
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
def test_text_may_have_a_byte_order_mark_and_any_line_ending(write, name, lines, start, end):
    """Blank lines are skipped."""
    data = start + end.join(line if isinstance(line, bytes) else line.encode() for line in lines)
    assert list_documents(write(name, data)) == [(A, [A], None), (B, [B], None)]


def test_parquet_columns_keep_their_types(write):
    day = date(2026, 11, 20)
    data = build_parquet(
        uri=[A, B], total=[Decimal("1.50"), None], day=[day, day], tags=[["x"], []], size=[3, 4], raw=[b"\1", b""]
    )
    values = {"total": "1.50", "day": "2026-11-20", "tags": ["x"], "size": 3, "raw": "01"}
    assert list_documents(write("a.parquet", data))[0] == (A, [A], values)


def test_other_columns_are_kept_unchanged(write):
    """CSV values are text, JSON values keep their types, and missing keys are not added."""
    assert list_documents(write("a.csv", f"branch,uri,year\nnorth,{A},2026\n,{B},\n")) == [
        (A, [A], {"branch": "north", "year": "2026"}),
        (B, [B], {"branch": None, "year": None}),
    ]
    rows = [{"uri": A, "year": 2026, "deep": {"ok": [True]}}, {"uri": B, "year": "2027"}, {"uri": C}]
    assert list_documents(write("a.jsonl", build_jsonl(*rows))) == [
        (A, [A], {"year": 2026, "deep": {"ok": [True]}}),
        (B, [B], {"year": "2027"}),
        (C, [C], None),
    ]


def test_document_has_the_columns_of_its_first_page(write):
    """The first page may stand on a later row."""
    text = f"uri,document,page,note\n{B},one,2,second\n{A},one,1,first\n"
    assert list_documents(write("a.csv", text)) == [("one", [A, B], {"note": "first"})]


def test_rows_of_one_document_are_joined(write):
    """Pages without numbers keep the order of rows; a row without a document is named by its uri."""
    text = f"uri,document\n{C},two\n{A},\n/x/1.jpg,two\n{B},one\n"
    assert list_documents(write("a.csv", text)) == [("two", [C, "/x/1.jpg"], None), (A, [A], None), ("one", [B], None)]


@pytest.mark.parametrize("pages", [[10, 9, None], [10.0, 9.0, None], ["10", "9", ""]])
def test_page_numbers_may_be_integers_floats_or_text(write, pages):
    """9 comes before 10."""
    data = build_parquet(uri=[A, B, C], document=["one", "one", None], page=pages)
    assert list_documents(write("a.parquet", data)) == [("one", [B, A], None), (C, [C], None)]


def test_paths_are_relative_to_the_manifest(write, tmp_path):
    """Absolute paths are accepted, and paths are normalized."""
    source = write("lists/a.txt", "x.jpg\n../y.jpg\n./z.jpg\n/data//w.jpg\n")
    expected = [f"{tmp_path}/lists/x.jpg", f"{tmp_path}/y.jpg", f"{tmp_path}/lists/z.jpg", "/data/w.jpg"]
    assert [document.document for document in scan_manifest(source)] == expected


def test_manifest_at_a_relative_path_gives_absolute_paths(write, tmp_path, monkeypatch):
    write("a.txt", "x.jpg\n")
    monkeypatch.chdir(tmp_path)
    assert [document.document for document in scan_manifest("a.txt")] == [f"{tmp_path}/x.jpg"]


def test_file_status_is_read_when_its_document_is_yielded(write, tmp_path):
    """A missing file is a problem that is not final."""
    (tmp_path / "x.jpg").write_bytes(b"picture")
    source = write("a.txt", "x.jpg\nnone.jpg\n.\n")
    documents = scan_manifest(source)
    (tmp_path / "x.jpg").write_bytes(b"a picture")
    found, missing, folder = (document.pages[0] for document in documents)
    status = (tmp_path / "x.jpg").stat()
    assert (found.size, found.version) == (9, f"9-{status.st_mtime_ns}")
    assert (missing.problem.kind, missing.problem.stage, missing.problem.final) == ("missing", "scan", False)
    assert folder.problem.kind == "not_an_image"


def test_manifest_accepts_files_of_any_extension(write, tmp_path):
    (tmp_path / "scan.tmp").write_bytes(b"picture")
    assert [document.pages[0].problem for document in scan_manifest(write("a.txt", "scan.tmp\n"))] == [None]


@pytest.mark.parametrize("uri", [A, "s3://bucket/a.jpg", "gs://bucket/x y/ä.png", "az://box/a#1?.jpg", f"{A}?id=42"])
def test_url_is_not_opened_by_the_manifest(write, uri):
    """The store finds its version; special characters of a key are kept."""
    [document] = scan_manifest(write("a.txt", f"{uri}\n"))
    [page] = document.pages
    assert (page.uri, page.version, page.problem, page.address) == (uri, None, None, None)


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        (SIGNED, A),
        (f"{A}?id=4&X-Amz-Signature={SECRET}", f"{A}?id=4"),
        (f"{A}?X-Goog-Signature={SECRET}", A),
        (f"{A}?sv=1&sig={SECRET}", A),
        (f"https://me:{SECRET}@images.example/a.jpg", A),
    ],
)
def test_signed_url_is_named_without_its_signature(write, url, uri):
    """The full URL is kept in memory and hidden from `repr`."""
    [document] = scan_manifest(write("a.csv", f"uri,link,document\n{url},see {url},x {url}\n"))
    [page] = document.pages
    assert (page.uri, page.address.get_secret_value()) == (uri, url)
    assert document.document.startswith("x https://images.example/a.jpg")
    assert SECRET not in repr(document)


def test_url_is_normalized_without_its_fragment(write):
    """The host becomes lower case; the removed part is not kept as a secret."""
    [document] = scan_manifest(write("a.txt", "HTTPS://Images.Example/a.jpg#top\n"))
    assert (document.document, document.pages[0].address) == (A, None)


def test_urls_in_other_columns_lose_their_signatures(write):
    """Nested values are redacted, too."""
    source = write("a.jsonl", build_jsonl({"uri": A, "thumb": SIGNED, "all": [{"big": f"at {SIGNED}"}]}))
    assert list_documents(source) == [(A, [A], {"thumb": A, "all": [{"big": f"at {A}"}]})]
    assert SECRET not in read_manifest(source).other.write_json()


@pytest.mark.parametrize("uri", ["ftp://host/a.jpg", "file:///etc/a.jpg", "gopher://x", "ftp://me:word@host/a.mp4"])
def test_unknown_url_scheme_is_rejected(write, uri):
    """The message lists the accepted schemes, and the password is hidden."""
    [document] = scan_manifest(write("a.txt", f"{uri}\n"))
    problem = document.pages[0].problem
    assert (problem.kind, problem.stage, problem.final) == ("blocked_address", "scan", False)
    assert "http://, https://, s3://, gs://, az://" in problem.message
    assert ":word" not in repr(document)


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("s3://key:word@bucket/a.jpg", "forbidden"),
        (f"s3://b/a.jpg?X-Amz-Signature={SECRET}", "forbidden"),
        ("s3://b", "missing"),
    ],
)
def test_bucket_url_with_credentials_or_without_a_key_is_rejected(write, uri, kind):
    """Credentials are read from the environment only."""
    [document] = scan_manifest(write("a.txt", f"{uri}\n"))
    assert document.pages[0].problem.kind == kind
    assert ":word" not in repr(document)
    assert SECRET not in repr(document)


@pytest.mark.parametrize("extension", VIDEOS)
def test_video_is_recognized_by_its_extension(write, extension):
    """A video at a URL may be sent, one on a disk may not."""
    text = f"https://h.example/v{extension.upper()}?id=1\ns3://bucket/v{extension}\nv{extension}\nhttps://h.example/v.jpg?v={extension}\n"
    web, cloud, disk, picture = (document.pages[0] for document in scan_manifest(write("a.txt", text)))
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
def test_manifest_knows_whether_it_has_urls_and_videos(write, text, urls, videos):
    """URLs get many readers, and a budget must know of videos before a run."""
    source = open_source(write("a.txt", text))
    assert (source.store.readers, source.videos) == (64 if urls else 1, videos)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", "url,Page\nx,1\n", ("no column 'uri'", "'url', 'Page'")),
        ("a.csv", f"{SIGNED}\n{B}\n", ("no column 'uri'", "images.example/a.jpg")),
        ("a.jsonl", build_jsonl({"url": 1, "b": 2}), ("no column 'uri'", "'url', 'b'")),
        ("a.parquet", build_parquet(url=["x"]), ("no column 'uri'", "'url'")),
        ("a.csv", "uri,b\nx,1\n,2\n", ("no uri", "data row 2")),
        ("a.jsonl", build_jsonl({"uri": "x"}, {"uri": "  "}), ("no uri", "row 2")),
        ("a.parquet", build_parquet(uri=["x", None]), ("no uri", "row 2")),
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
        ("a.parquet", build_parquet(uri=["x"], page=[1.5]), ("page '1.5'", "from 1 on")),
        ("a.jsonl", build_jsonl({"uri": "x", "page": True}), ("row 1: page True",)),
        ("a.jsonl", build_jsonl({"uri": ["x"]}), ("row 1: uri",)),
        ("a.parquet", build_parquet(uri=[["x"]]), ("'uri'", "neither text nor numbers")),
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
        ("a.parquet", build_parquet(uri=pl.Series([], dtype=pl.String)), ("names nothing",)),
    ],
)  # fmt: skip
def test_invalid_manifest_is_refused_in_one_line(write, name, data, words):
    """The message names the manifest and the rows, and contains no signature."""
    source = write(name, data)
    with pytest.raises(ConfigurationError) as raised:
        scan_manifest(source)
    message = raised.value.message
    assert message.startswith(f"manifest {source!r} ")
    assert [word for word in words if word not in message] == []
    assert "\n" not in message
    assert SECRET not in message


def test_missing_manifest_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="does not exist"):
        scan_documents(str(tmp_path / "none.csv"))


@pytest.mark.parametrize("by", ["folder", "name"])
def test_manifest_refuses_grouping_by_folder_or_name(write, by):
    """Its own columns group images; grouping by frames is accepted."""
    source = write("a.txt", "x.jpg\n")
    with pytest.raises(ConfigurationError, match=f"--document-by {by} .*columns document and page"):
        scan_documents(source, by)
    assert len(list(scan_documents(source, "frames"))) == 1


def test_manifest_in_a_bucket_resolves_relative_keys(bucket):
    """Absolute paths are local files."""
    bucket.put("lists/today.csv", b"uri,branch\n../in/a.jpg,north\nb.jpg,south\n/data/c.jpg,\n")
    source = f"{bucket.url}/lists/today.csv"
    names = [f"{bucket.url}/in/a.jpg", f"{bucket.url}/lists/b.jpg", "/data/c.jpg"]
    assert [document.document for document in scan_documents(source)] == names
    with pytest.raises(ConfigurationError, match="does not exist"):
        scan_documents(f"{bucket.url}/lists/none.csv")


ROWS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 30)), min_size=1, max_size=40, unique=True)


@given(ROWS)
def test_each_row_is_a_page_of_its_document_in_order(rows):
    """Documents are in the order of their first rows, pages in the order of their numbers."""
    data = build_jsonl(
        *({"uri": f"https://h.example/{name}/{page}", "document": name, "page": page} for name, page in rows)
    )
    documents = [
        (document.document, [int(page.uri.rpartition("/")[2]) for page in document.pages])
        for document in parse_documents(data)
    ]
    names = list(dict.fromkeys(name for name, _ in rows))
    assert documents == [(name, sorted(page for other, page in rows if other == name)) for name in names]


def parse_documents(data):
    from extractors.scan.manifest.entry import Base  # noqa: PLC0415  only here
    from extractors.scan.manifest.manifest import _check_rows  # noqa: PLC0415

    return _check_rows(read_rows(".jsonl", data.encode()), Base("/in")).documents()


TEXTS = st.text(alphabet=st.sampled_from("hHtps3:/.?#%@&= aA-_1+;\\"), max_size=30)


@given(TEXTS | TEXTS.map("https://h.example/{}".format) | TEXTS.map("https://h.example/a?X-Amz-Date={}".format))
def test_fast_path_for_urls_agrees_with_redact_url(text):
    """A URL that the patterns accept, unchanged or cut at its query, is the redacted URL."""
    frame = pl.DataFrame({"it": [text]})
    plain, stripped = frame.select(pl.col("it").str.contains(PLAIN), before=pl.col("it").str.extract(PRESIGNED)).row(0)
    assert not (plain and text.startswith("http")) or redact_url(text) == text
    assert stripped is None or redact_url(text) == stripped


@given(st.binary(max_size=60), st.sampled_from([".txt", ".csv", ".jsonl", ".parquet"]))
def test_read_rows_raises_only_manifest_errors(data, kind):
    try:
        rows = read_rows(kind, data)
    except ManifestError:
        return
    assert rows.table.height > 0
