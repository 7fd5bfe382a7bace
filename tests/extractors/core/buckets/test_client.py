"""core/buckets/client.py, errors.py: where the servers of Google and Azure differ from S3."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from extractors.core.errors import ConfigurationError, DocumentError
from extractors.scan import create_store, scan

TIME = "Sun, 01 Nov 2026 00:00:00 GMT"
AZURE = (
    '<?xml version="1.0"?><EnumerationResults><Blobs><Blob><Name>in/a.jpg</Name><Properties>'
    f"<Last-Modified>{TIME}</Last-Modified><Etag>0x8D1</Etag><Content-Length>7</Content-Length>"
    "<Content-Type>image/jpeg</Content-Type></Properties></Blob></Blobs><NextMarker/></EnumerationResults>"
)  # the etag has no quotes here, unlike in the header
GOOGLE = (
    '<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>in/a.jpg</Key>'
    '<LastModified>2026-11-01T00:00:00.000Z</LastModified><ETag>"0x8D1"</ETag><Size>7</Size></Contents></ListBucketResult>'
)


class Cloud(BaseHTTPRequestHandler):
    """A bucket with one object, listed in the server's format, or a refusal."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status, listing = self.server.status, self.server.listing
        if "list" in self.path and "?" in self.path:
            self._reply(status, listing.encode())
        elif self.headers.get("If-Match", '"0x8D1"') != self.server.etag:
            self._reply(412, b"")
        else:
            self._reply(status, b"picture")

    def _reply(self, status, body):
        self.send_response(status)
        fields = {"ETag": self.server.etag, "Last-Modified": TIME, "x-ms-blob-type": "BlockBlob"}
        for name, value in (fields | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """A cloud server on the loopback address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Cloud) as server:
        server.status, server.listing, server.etag = 200, "", '"0x8D1"'
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["az", "gs"])
def cloud(request, server, sign_in_to):
    """The server as Azure or Google, with a key in the environment, and its source."""
    server.listing = AZURE if request.param == "az" else GOOGLE
    sign_in_to(request.param, server.server_port)
    return server, f"{request.param}://bucket/in"


def test_object_is_listed_and_read_in_any_cloud(cloud):
    """Its uri is its URL; its version is the etag in quotes, with or without quotes in the listing."""
    _, source = cloud
    (found,) = scan(source)
    assert (found.uri, found.size, found.version) == (f"{source}/a.jpg", 7, '"0x8D1"')
    assert create_store(source).read(found) == b"picture"


def test_changed_object_is_refused_in_any_cloud(cloud):
    """The read request has the etag as a condition."""
    server, source = cloud
    (found,) = scan(source)
    server.etag = '"0x8D2"'
    with pytest.raises(DocumentError) as raised:
        create_store(source).read(found)
    assert raised.value.kind == "changed"


def test_refused_listing_names_the_clouds_permission(cloud):
    server, source = cloud
    server.status, server.listing = 403, "<Error><Code>AccessDenied</Code></Error>"
    with pytest.raises(ConfigurationError, match=r"may not be listed \(AccessDenied\): the key needs [sS]torage"):
        scan(source)


def test_missing_bucket_is_refused_in_any_cloud(cloud):
    """Azure calls it a container."""
    server, source = cloud
    code = "ContainerNotFound" if source.startswith("az") else "NoSuchBucket"
    server.status, server.listing = 404, f"<Error><Code>{code}</Code></Error>"
    with pytest.raises(ConfigurationError, match="does not exist: no such bucket"):
        scan(source)
