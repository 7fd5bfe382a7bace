"""bucket.py: an output at Google and Azure, by servers that keep what they are sent and answer as these two do."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from extractors.core.errors import ConfigurationError
from extractors.record.output import open_output

TIME = "Sun, 01 Nov 2026 00:00:00 GMT"
ROWS = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})
PART = (
    "--batch\r\nContent-Type: application/http\r\nContent-ID: {}\r\n\r\nHTTP/1.1 {} said\r\nx-ms-request-id: 1\r\n\r\n"
)


class Cloud(BaseHTTPRequestHandler):
    """Objects by their path, kept while the server is there."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked, kept = urlsplit(self.path), self.server.kept
        if "list" in asked.query:
            self._say(200, self.server.listing(parse_qs(asked.query, keep_blank_values=True)).encode())
        elif (data := kept.get(unquote(asked.path))) is None:
            self._say(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._part(data)

    do_HEAD = do_GET  # noqa: N815 - as http.server names it

    def do_PUT(self):
        self.server.kept[unquote(urlsplit(self.path).path)] = self._body()
        self._say(self.server.written, b"")

    def do_DELETE(self):
        self._say(202 if self.server.kept.pop(unquote(urlsplit(self.path).path), None) is not None else 404, b"")

    def do_POST(self):
        """Azure's batch of deletions."""
        paths = re.findall(r"DELETE (\S+) HTTP", self._body().decode())
        gone = [self.server.kept.pop(unquote(path), None) is not None for path in paths]
        parts = [PART.format(number, 202 if each else 404) for number, each in enumerate(gone)]
        self._say(202, ("".join(parts) + "--batch--\r\n").encode(), {"Content-Type": "multipart/mixed; boundary=batch"})

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _part(self, data):
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or self.headers.get("x-ms-range") or "")
        if not asked:
            self._say(200, data)
            return
        first, last = asked.groups()
        start = int(first) if first else max(0, len(data) - int(last))
        end = min(int(last) + 1, len(data)) if first and last else len(data)
        self._say(206, data[start:end], {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})

    def _say(self, status, body, headers=None):
        self.send_response(status)
        fields = {"ETag": '"0x8D1"', "Last-Modified": TIME, "x-ms-blob-type": "BlockBlob", **(headers or {})}
        for name, value in (fields | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


def build_listing(kept, asked):
    """What a listing holds: keys with their sizes, and folders where those are asked for."""
    prefix, whole = asked.get("prefix", [""])[0], asked.get("delimiter", [""])[0] == ""
    found = {path.removeprefix("/bucket/"): len(data) for path, data in kept.items()}
    below = {key: size for key, size in sorted(found.items()) if key.startswith(prefix)}
    here = {key: size for key, size in below.items() if whole or "/" not in key[len(prefix) :]}
    folders = {prefix + key[len(prefix) :].partition("/")[0] + "/" for key in below if key not in here}
    return here, sorted(folders)


def azure(kept, asked):
    """A listing in Azure's words."""
    here, folders = build_listing(kept, asked)
    blobs = "".join(
        f"<Blob><Name>{key}</Name><Properties><Last-Modified>{TIME}</Last-Modified><Etag>0x8D1</Etag><Content-Length>"
        f"{size}</Content-Length><Content-Type>x/y</Content-Type></Properties></Blob>"
        for key, size in here.items()
    )
    blobs += "".join(f"<BlobPrefix><Name>{each}</Name></BlobPrefix>" for each in folders)
    return f'<?xml version="1.0"?><EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>'


def google(kept, asked):
    """A listing in Google's words."""
    here, folders = build_listing(kept, asked)
    objects = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-11-01T00:00:00.000Z</LastModified><ETag>x</ETag><Size>{size}</Size>"
        "</Contents>"
        for key, size in here.items()
    )
    objects += "".join(f"<CommonPrefixes><Prefix>{each}</Prefix></CommonPrefixes>" for each in folders)
    return f'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>{objects}</ListBucketResult>'


@pytest.fixture
def server():
    """A cloud on the loopback address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Cloud) as server:
        server.kept, server.written = {}, 201
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["az", "gs"])
def root(request, server, sign_in_to):
    """A root at Azure's or at Google's."""
    words = azure if request.param == "az" else google
    server.listing = lambda asked: words(server.kept, asked)
    sign_in_to(request.param, server.server_port)
    return open_output(f"{request.param}://bucket/my out")


def test_tables_are_written_listed_read_and_removed_in_any_cloud(root):
    """Each signs in, lists and deletes in its own way; polars reads what obstore has written."""
    root.create_staging("staging/run/0001", ["runs"])
    for key in ("staging/run/0001/a", "staging/run/0001/b", "runs/run_date=2026-11-20/x"):
        root.write(f"{key}.parquet", ROWS)
    files = root.list_files("staging/run/0001", "*.parquet")
    assert files == ["staging/run/0001/a.parquet", "staging/run/0001/b.parquet"]
    assert_frame_equal(root.scan(files).collect(), pl.concat([ROWS, ROWS]))
    assert root.list_folders("staging/run") == ["0001"]
    root.remove_folder("staging/run/0001")
    assert not root.exists("staging/run/0001/a.parquet")
    assert root.list_files("runs", "run_date=*/*.parquet") == ["runs/run_date=2026-11-20/x.parquet"]


def test_what_another_has_removed_meanwhile_is_no_trouble(root, server):
    """Unlike S3, these two say so; the rest is removed all the same."""
    for key in ("a", "b", "c"):
        root.write(f"s/{key}.parquet", ROWS)
    listing, seen = server.listing, server.kept.copy()
    server.listing = lambda asked: (azure if "container" in asked.get("restype", []) else google)(seen, asked)
    server.kept.pop("/bucket/my out/s/a.parquet")
    root.remove_folder("s")
    server.listing = listing
    assert root.list_files("s", "*") == []


def test_who_may_not_write_is_told_the_cloud_s_own_permission(root, server):
    """Each has its own name for it."""
    server.written = 403
    with pytest.raises(
        ConfigurationError, match=r"may not be written \(forbidden\): the key needs [sS]torage"
    ) as raised:
        root.create_staging("staging/run/0001", ["runs"])
    assert "\n" not in raised.value.message
