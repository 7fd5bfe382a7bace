"""`tilewise run` on a manifest of files, a bucket and a web server: what is fetched, sent as a URL, and written."""

import hashlib
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

SECRET = "5e1f0c4a97d3b2685e1f0c4a97d3b2685e1f0c4a97d3b2685e1f0c4a97d3b268"
QUERY = f"?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2Fs3&X-Amz-Signature={SECRET}"
RUN = ("--schema", "caption", "--yes", "--json", "--direct")


def picture(number, size=(300, 200)):
    """The bytes of a JPEG, different for each number."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (number, 90, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


class Site(ThreadingHTTPServer):
    """A web server of images that records its requests; its etags are hashes of the content."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Page)
        self.pages, self.asked = {}, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def methods(self):
        """The methods of its requests, sorted."""
        return sorted(method for method, _ in self.asked)


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.command, self.path))
        data = self.server.pages.get(self.path.partition("?")[0])
        self.send_response(200 if data is not None else 404)
        self.send_header("Content-Length", str(len(data or b"")))
        self.send_header("Content-Type", "video/mp4" if ".mp4" in self.path else "image/jpeg")
        self.send_header("ETag", f'"{hashlib.sha256(data or b"").hexdigest()[:16]}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data or b"")

    do_HEAD = do_GET  # noqa: N815 - as http.server names it

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    """A web server with three images and a video."""
    with Site() as server:
        server.pages = {f"/{name}.jpg": picture(number) for number, name in enumerate("abc", 10)}
        server.pages["/v.mp4"] = b"video"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def workspace_with_allowed_host(workspace, server):
    """A workspace whose settings allow the web server of this machine."""
    workspace.using(server, allow_hosts="127.0.0.1")


@pytest.fixture
def write_manifest(tmp_path):
    """Writes a manifest outside the workspace, so that a search for secrets ignores it; returns its path."""

    def write(text, name="list.csv"):
        path = tmp_path / "lists" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def run_to_row(workspace, source, *flags, code=0, env=None):
    """Runs, expects this exit code, and returns the row of `runs`."""
    result = workspace.run("run", source, *RUN, *flags, env=env)
    assert result.exit_code == code, result.output
    assert SECRET not in result.output
    return json.loads(result.stdout)


def counts(row):
    """The numbers of documents by outcome."""
    names = ("found", "skipped", "duplicates", "rejected", "accepted", "failed", "calls")
    return {name: row[name] for name in names if row[name]}


def sent_urls(server):
    """For each request, the URL that was sent, or `bytes`."""
    blocks = [url["messages"][1]["content"][1] for url in server.asked]
    urls = [block[block["type"]]["url"] for block in blocks]
    return sorted("bytes" if url.startswith("data:") else url for url in urls)


def test_mixed_manifest_is_read_once_and_changed_rows_again(workspace, site, bucket, write_manifest, server):
    """Results have the other columns; the second run fetches headers only, the third what has changed."""
    workspace.env |= bucket.environ
    bucket.put("in/o.jpg", picture(60))
    (write_manifest("").parent / "f.jpg").write_bytes(picture(61))
    source = write_manifest(
        "branch,uri,document,page\n"
        f"north,f.jpg,,\nsouth,{bucket.url}/in/o.jpg,,\nback,{site.url}/b.jpg,two,2\nfront,{site.url}/a.jpg,two,1\n"
        f"web,{site.url}/c.jpg{QUERY},,\nweb,none.jpg,,\n"
    )
    row = run_to_row(workspace, source, code=1)
    assert counts(row) == {"found": 5, "accepted": 4, "rejected": 1, "calls": 4}
    assert row["source"] == str(source)
    rows = {result["_document"]: result for result in workspace.table("results").to_dicts()}
    columns = {name.rpartition("/")[2]: json.loads(result["_manifest"]) for name, result in rows.items()}
    assert columns == {
        name: {"branch": branch}
        for name, branch in {"f.jpg": "north", "o.jpg": "south", "two": "front", "c.jpg": "web"}.items()
    }
    assert rows["two"]["_pages"] == [f"{site.url}/a.jpg", f"{site.url}/b.jpg"]
    assert rows[f"{site.url}/c.jpg"]["_version"] == f'"{hashlib.sha256(site.pages["/c.jpg"]).hexdigest()[:16]}"'
    assert workspace.only("failures")["kind"] == "missing"
    assert SECRET not in workspace.read_all_bytes()

    site.asked.clear()
    bucket.front.asked.clear()
    assert counts(run_to_row(workspace, source, code=1)) == {"found": 5, "skipped": 4, "rejected": 1}
    assert site.methods == ["HEAD"] * 3
    assert [method for method, _, _ in bucket.front.asked] == ["HEAD"]

    site.pages["/b.jpg"] = picture(99)
    assert counts(run_to_row(workspace, source, code=1)) == {
        "found": 5,
        "skipped": 3,
        "rejected": 1,
        "accepted": 1,
        "calls": 1,
    }


@pytest.mark.parametrize(("name", "uri"), [("list.txt", "{}\n"), ("list.jsonl", '{{"uri": "{}"}}\n')])
def test_manifest_formats_are_sources(workspace, site, write_manifest, name, uri):
    """Without other columns, `_manifest` is null."""
    assert counts(run_to_row(workspace, write_manifest(uri.format(f"{site.url}/a.jpg"), name))) == {
        "found": 1,
        "accepted": 1,
        "calls": 1,
    }
    assert workspace.only("results")["_manifest"] is None


def test_private_address_is_blocked_unless_allowed(workspace, site, write_manifest):
    """The failure names the setting, and is not final."""
    source = write_manifest(f"uri\n{site.url}/a.jpg{QUERY}\n")
    row = run_to_row(workspace, source, code=1, env={"TILEWISE_ALLOW_HOSTS": None})
    failure = workspace.only("failures")
    assert (row["rejected"], failure["kind"], failure["stage"], failure["final"]) == (
        1,
        "blocked_address",
        "scan",
        False,
    )
    assert "TILEWISE_ALLOW_HOSTS" in failure["message"]
    assert site.asked == []
    assert SECRET not in workspace.read_all_bytes()


def test_send_urls_sends_public_urls_and_local_bytes(workspace, site, write_manifest, server):
    """A public URL is sent even for an image that would be resized."""
    site.pages["/b.jpg"] = picture(5, (3000, 4000))
    (write_manifest("").parent / "f.jpg").write_bytes(picture(61))
    run_to_row(workspace, write_manifest(f"uri\n{site.url}/a.jpg\n{site.url}/b.jpg\nf.jpg\n"), "--send-urls")
    assert sent_urls(server) == ["bytes", f"{site.url}/a.jpg", f"{site.url}/b.jpg"]
    images = {
        row["image"].rpartition("/")[2]: (row["action"], row["reason"]) for row in workspace.table("images").to_dicts()
    }
    assert images == {"a.jpg": ("url", "passed_on"), "b.jpg": ("url", "passed_on"), "f.jpg": ("send", "fits")}
    assert workspace.table("results").filter(_action="url")["_sha256"].to_list() == ["", ""]


def test_signed_url_is_sent_whole_and_masked_everywhere(workspace, site, write_manifest, server, replies):
    """Even if the server repeats it in an error and in its answer."""
    full = f"{site.url}/a.jpg{QUERY}"
    answers = iter(
        [
            replies.error(400, f"cannot fetch {full}"),
            replies.ok({"caption": f"see {full}", "alt_text": None, "tags": []}),
        ]
    )
    server.script = lambda asked: next(answers)
    source = write_manifest(f"uri,link\n{full},{full}\n")
    result = workspace.run("run", source, *RUN, "--send-urls")
    assert result.exit_code == 1
    second = workspace.run("run", source, *RUN, "--send-urls", "--redo", "failed")
    assert second.exit_code == 0, second.output
    assert sent_urls(server) == [full, full]
    assert json.loads(workspace.only("results")["_manifest"]) == {"link": f"{site.url}/a.jpg"}
    assert SECRET not in workspace.read_all_bytes() + result.output + second.output


def test_signed_url_of_a_large_image_is_fetched_and_resized(workspace, site, write_manifest, server):
    site.pages["/a.jpg"] = picture(5, (1500, 2000))
    run_to_row(workspace, write_manifest(f"uri\n{site.url}/a.jpg{QUERY}\n"), "--send-urls", "--bill", "formula")
    assert sent_urls(server) == ["bytes"]
    assert workspace.only("images")["action"] == "resize"


def test_object_is_sent_as_presigned_url(workspace, bucket, write_manifest, server):
    """The signature is made for the request, and appears in no file."""
    workspace.env |= bucket.environ
    bucket.put("o.jpg", picture(60))
    run_to_row(workspace, write_manifest(f"uri\n{bucket.url}/o.jpg\n"), "--send-urls")
    [url] = sent_urls(server)
    signature = url.partition("X-Amz-Signature=")[2]
    assert len(signature) == 64
    assert signature not in workspace.read_all_bytes()


def test_send_urls_is_ignored_offline(workspace, site, write_manifest):
    """Local OCR reads no URLs."""
    estimated = workspace.run(
        "run", write_manifest(f"uri\n{site.url}/a.jpg\n"), *RUN, "--send-urls", "--offline", "--dry-run"
    )
    assert json.loads(estimated.stdout)["actions"] == {"send": 1}
    estimated = workspace.run("run", write_manifest(f"uri\n{site.url}/a.jpg\n"), *RUN, "--send-urls", "--dry-run")
    assert json.loads(estimated.stdout)["actions"] == {"url": 1}


def test_video_needs_a_dedicated_endpoint(workspace, site, write_manifest, server):
    """Otherwise it is a failure that is not final; the video is not fetched, and a local file is never sent."""
    source = write_manifest(f"uri\n{site.url}/v.mp4{QUERY}\nv.mp4\n")
    assert counts(run_to_row(workspace, source, code=1)) == {"found": 2, "rejected": 2}
    kinds = {
        (failure["kind"], failure["stage"], failure["final"]) for failure in workspace.table("failures").to_dicts()
    }
    assert kinds == {("video_not_allowed", "scan", False)}
    assert (site.asked, server.asked) == ([], [])

    row = run_to_row(workspace, source, code=1, env={"TILEWISE_DEDICATED": "1"})
    assert counts(row) == {"found": 2, "rejected": 1, "accepted": 1, "calls": 1}
    assert sent_urls(server) == [f"{site.url}/v.mp4{QUERY}"]
    assert server.asked[0]["messages"][1]["content"][1]["type"] == "video_url"
    assert site.methods == ["HEAD"]
    assert workspace.only("results")["_width"] is None
    assert SECRET not in workspace.read_all_bytes()


@pytest.mark.parametrize(
    ("flags", "env"), [(("--budget", "1"), {}), ((), {"TILEWISE_DAILY_BUDGET": "1"})], ids=["run", "day"]
)
def test_budget_for_a_video_needs_video_tokens(workspace, site, write_manifest, server, flags, env):
    source, env = write_manifest(f"uri\n{site.url}/v.mp4\n"), {"TILEWISE_DEDICATED": "1", **env}
    result = workspace.run("run", source, *RUN, *flags, env=env)
    assert (result.exit_code, result.stdout, server.asked) == (2, "", [])
    assert result.stderr.count("\n") == 1
    assert "needs --video-tokens" in result.stderr
    row = run_to_row(workspace, source, *flags, "--video-tokens", 5000, env=env)
    assert counts(row) == {"found": 1, "accepted": 1, "calls": 1}
    assert workspace.only("calls")["estimated_image_tokens"] == 5000


def test_video_without_estimate_names_video_tokens(workspace, site, write_manifest, server):
    """The message does not ask for a price, which is known."""
    flags = [flag for flag in RUN if flag != "--yes"]
    result = workspace.run("run", write_manifest(f"uri\n{site.url}/v.mp4\n"), *flags, env={"TILEWISE_DEDICATED": "1"})
    assert result.exit_code == 2
    assert "the cost of a video is unknown: set the maximum with --video-tokens" in result.stderr
    assert not server.asked


def test_budget_ignores_rejected_videos(workspace, site, write_manifest):
    assert counts(run_to_row(workspace, write_manifest(f"uri\n{site.url}/v.mp4\n"), "--budget", 1, code=1)) == {
        "found": 1,
        "rejected": 1,
    }


def test_limit_bounds_header_requests_of_a_manifest(workspace, site, write_manifest):
    source = write_manifest("uri\n" + "".join(f"{site.url}/a.jpg?id={number}\n" for number in range(500)))
    assert counts(run_to_row(workspace, source, "--limit", 2)) == {
        "found": 2,
        "accepted": 1,
        "calls": 1,
        "duplicates": 1,
    }
    assert site.methods.count("HEAD") <= 64


@pytest.mark.parametrize("finished", [False, True])
def test_sample_bounds_header_requests_of_a_manifest(workspace, site, write_manifest, finished):
    """All rows are counted; the share of skipped documents is taken from the sample."""
    source = write_manifest("uri\n" + "".join(f"{site.url}/a.jpg?id={number}\n" for number in range(40)))
    if finished:
        run_to_row(workspace, source)
    site.asked.clear()
    flags = ("--schema", "caption", "--output", "out", "--sample", 5, "--json")
    estimated = json.loads(workspace.run("estimate", source, *flags).stdout)
    assert (estimated["documents"], estimated["skipped"]) == ((0, 40) if finished else (40, 0))
    assert site.methods.count("HEAD") == 5


@pytest.mark.parametrize("command", [("estimate",), ("run", *RUN)])
def test_invalid_manifest_ends_command_before_any_call(workspace, write_manifest, server, command):
    """Exit 2 and one line that names the file and the row; no table is written."""
    name, *flags = command
    result = workspace.run(name, write_manifest("uri,page\na.jpg,1\nb.jpg,last\n"), *flags)
    assert (result.exit_code, result.stdout, server.asked) == (2, "", [])
    assert result.stderr.count("\n") == 1
    assert "data row 2" in result.stderr
    assert workspace.files("out") == []


def test_estimate_of_a_manifest_fetches_headers_only(workspace, site, write_manifest, server):
    """It needs no key."""
    source = write_manifest(f"uri\n{site.url}/a.jpg\n{site.url}/gone.jpg\n")
    estimated = json.loads(workspace.run("estimate", source, "--json", env={"TILEWISE_API_KEY": None}).stdout)
    assert (estimated["documents"], estimated["rejected"], estimated["sampled"]) == (2, 1, False)
    assert server.asked == []
