"""core/buckets/client.py, errors.py: Google's and Azure's servers where they differ from S3."""

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
)  # without the quotes that the header has
GOOGLE = (
    '<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>in/a.jpg</Key>'
    '<LastModified>2026-11-01T00:00:00.000Z</LastModified><ETag>"0x8D1"</ETag><Size>7</Size></Contents></ListBucketResult>'
)


class Cloud(BaseHTTPRequestHandler):
    """One object, listed in the server's words; or a refusal."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status, listing = self.server.status, self.server.listing
        if "list" in self.path and "?" in self.path:
            self._say(status, listing.encode())
        elif self.headers.get("If-Match", '"0x8D1"') != self.server.etag:
            self._say(412, b"")
        else:
            self._say(status, b"picture")

    def _say(self, status, body):
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
    """A cloud on the loopback address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Cloud) as server:
        server.status, server.listing, server.etag = 200, "", '"0x8D1"'
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=["az", "gs"])
def cloud(request, server, sign_in_to):
    """The server as Azure or as Google, with a key in the environment; gives it and its source."""
    server.listing = AZURE if request.param == "az" else GOOGLE
    sign_in_to(request.param, server.server_port)
    return server, f"{request.param}://bucket/in"


def test_an_object_is_found_and_read_in_any_cloud(cloud):
    """Its uri is its URL, its version the etag in quotes, whether the listing has them or not."""
    _, source = cloud
    (found,) = scan(source)
    assert (found.uri, found.size, found.version) == (f"{source}/a.jpg", 7, '"0x8D1"')
    assert create_store(source).read(found) == b"picture"


def test_an_object_that_changed_is_noticed_in_any_cloud(cloud):
    """By the condition of the request."""
    server, source = cloud
    (found,) = scan(source)
    server.etag = '"0x8D2"'
    with pytest.raises(DocumentError) as raised:
        create_store(source).read(found)
    assert raised.value.kind == "changed"


def test_who_may_not_list_is_told_the_cloud_s_own_permission(cloud):
    """Each has its own name for it."""
    server, source = cloud
    server.status, server.listing = 403, "<Error><Code>AccessDenied</Code></Error>"
    with pytest.raises(ConfigurationError, match=r"may not be listed \(AccessDenied\): the key needs [sS]torage"):
        scan(source)


def test_a_bucket_that_does_not_exist_is_refused_in_any_cloud(cloud):
    """Azure calls it a container."""
    server, source = cloud
    code = "ContainerNotFound" if source.startswith("az") else "NoSuchBucket"
    server.status, server.listing = 404, f"<Error><Code>{code}</Code></Error>"
    with pytest.raises(ConfigurationError, match="does not exist: no such bucket"):
        scan(source)
