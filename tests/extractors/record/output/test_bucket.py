"""bucket.py: an output in Google Cloud Storage or Azure, on servers that store objects and answer in their formats."""

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
    """Stores objects by path, for as long as the server runs."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url, objects = urlsplit(self.path), self.server.objects
        if "list" in url.query:
            self._say(200, self.server.build_listing(parse_qs(url.query, keep_blank_values=True)).encode())
        elif (data := objects.get(unquote(url.path))) is None:
            self._say(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._part(data)

    do_HEAD = do_GET  # noqa: N815 - as http.server names it

    def do_PUT(self):
        self.server.objects[unquote(urlsplit(self.path).path)] = self._body()
        self._say(self.server.put_status, b"")

    def do_DELETE(self):
        self._say(202 if self.server.objects.pop(unquote(urlsplit(self.path).path), None) is not None else 404, b"")

    def do_POST(self):
        """Deletes a batch of objects, as Azure does."""
        paths = re.findall(r"DELETE (\S+) HTTP", self._body().decode())
        deletions = [self.server.objects.pop(unquote(path), None) is not None for path in paths]
        parts = [PART.format(number, 202 if deleted else 404) for number, deleted in enumerate(deletions)]
        self._say(202, ("".join(parts) + "--batch--\r\n").encode(), {"Content-Type": "multipart/mixed; boundary=batch"})

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _part(self, data):
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or self.headers.get("x-ms-range") or "")
        if not match:
            self._say(200, data)
            return
        first, last = match.groups()
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


def list_keys(objects, query):
    """The keys under a prefix with their sizes, and the folders if a delimiter is given."""
    prefix, recursive = query.get("prefix", [""])[0], query.get("delimiter", [""])[0] == ""
    sizes = {path.removeprefix("/bucket/"): len(data) for path, data in objects.items()}
    below = {key: size for key, size in sorted(sizes.items()) if key.startswith(prefix)}
    here = {key: size for key, size in below.items() if recursive or "/" not in key[len(prefix) :]}
    folders = {prefix + key[len(prefix) :].partition("/")[0] + "/" for key in below if key not in here}
    return here, sorted(folders)


def build_azure_listing(objects, query):
    """A listing in Azure's format."""
    here, folders = list_keys(objects, query)
    blobs = "".join(
        f"<Blob><Name>{key}</Name><Properties><Last-Modified>{TIME}</Last-Modified><Etag>0x8D1</Etag><Content-Length>"
        f"{size}</Content-Length><Content-Type>x/y</Content-Type></Properties></Blob>"
        for key, size in here.items()
    )
    blobs += "".join(f"<BlobPrefix><Name>{folder}</Name></BlobPrefix>" for folder in folders)
    return f'<?xml version="1.0"?><EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>'


def build_google_listing(objects, query):
    """A listing in Google's format."""
    here, folders = list_keys(objects, query)
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-11-01T00:00:00.000Z</LastModified><ETag>x</ETag><Size>{size}</Size>"
        "</Contents>"
        for key, size in here.items()
    )
    contents += "".join(f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>" for folder in folders)
    return f'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>'


@pytest.fixture
def server():
    """A cloud storage server on the loopback address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Cloud) as server:
        server.objects, server.put_status = {}, 201
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["az", "gs"])
def root(request, server, sign_in_to):
    """A root in Azure or in Google Cloud Storage."""
    build_listing = build_azure_listing if request.param == "az" else build_google_listing
    server.build_listing = lambda query: build_listing(server.objects, query)
    sign_in_to(request.param, server.server_port)
    return open_output(f"{request.param}://bucket/my out")


def test_files_are_written_listed_read_and_removed_in_each_cloud(root):
    """Each cloud signs in, lists and deletes differently; polars reads what obstore has written."""
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


def test_remove_folder_ignores_files_removed_meanwhile(root, server):
    """Unlike S3, these clouds report them as missing; the others are removed."""
    for key in ("a", "b", "c"):
        root.write(f"s/{key}.parquet", ROWS)
    build_listing, objects = server.build_listing, server.objects.copy()
    server.build_listing = lambda query: (
        build_azure_listing if "container" in query.get("restype", []) else build_google_listing
    )(objects, query)
    server.objects.pop("/bucket/my out/s/a.parquet")
    root.remove_folder("s")
    server.build_listing = build_listing
    assert root.list_files("s", "*") == []


def test_missing_write_permission_is_named_as_in_the_cloud(root, server):
    server.put_status = 403
    with pytest.raises(
        ConfigurationError, match=r"may not be written \(forbidden\): the key needs [sS]torage"
    ) as raised:
        root.create_staging("staging/run/0001", ["runs"])
    assert "\n" not in raised.value.message
