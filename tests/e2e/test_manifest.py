"""`tilewise run` on a manifest: files, a bucket and a web server in one list; what is fetched, passed on and written."""

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
    """A picture's bytes, each another one."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (number, 90, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


class Site(ThreadingHTTPServer):
    """A web server of pictures that notes what it is asked; its etags are their hashes."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Page)
        self.pages, self.asked = {}, []

    @property
    def url(self):
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def methods(self):
        """By what it was asked."""
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
    """A web server with three pictures and a video."""
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
def connection(workspace, server):
    """A workspace whose settings open this machine's web server."""
    workspace.using(server, allow_hosts="127.0.0.1")


@pytest.fixture
def lists(tmp_path):
    """Writes a manifest beside the workspace and gives its path: what is in it is a person's own."""

    def written(text, name="list.csv"):
        path = tmp_path / "lists" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return written


def ran(workspace, source, *flags, code=0, env=None):
    """The row of `runs` of a run that ended with this code."""
    ended = workspace.run("run", source, *RUN, *flags, env=env)
    assert ended.exit_code == code, ended.output
    assert SECRET not in ended.output
    return json.loads(ended.stdout)


def counts(row):
    """What became of the documents."""
    names = ("found", "skipped", "duplicates", "rejected", "accepted", "failed", "calls")
    return {name: row[name] for name in names if row[name]}


def urls(server):
    """What was sent of every picture: the URL, or `bytes`."""
    blocks = [each["messages"][1]["content"][1] for each in server.asked]
    said = [block[block["type"]]["url"] for block in blocks]
    return sorted("bytes" if each.startswith("data:") else each for each in said)


def test_a_mixed_manifest_is_read_and_skipped_the_second_time(workspace, site, bucket, lists, server):
    """Rows bear the other columns; the second run asks for headers only, and takes what has changed."""
    workspace.env |= bucket.environ
    bucket.put("in/o.jpg", picture(60))
    (lists("").parent / "f.jpg").write_bytes(picture(61))
    source = lists(
        "branch,uri,document,page\n"
        f"north,f.jpg,,\nsouth,{bucket.url}/in/o.jpg,,\nback,{site.url}/b.jpg,two,2\nfront,{site.url}/a.jpg,two,1\n"
        f"web,{site.url}/c.jpg{QUERY},,\nweb,none.jpg,,\n"
    )
    row = ran(workspace, source, code=1)
    assert counts(row) == {"found": 5, "accepted": 4, "rejected": 1, "calls": 4}
    assert row["source"] == str(source)
    rows = {each["_document"]: each for each in workspace.table("results").to_dicts()}
    said = {name.rpartition("/")[2]: json.loads(each["_manifest"]) for name, each in rows.items()}
    assert said == {
        name: {"branch": branch}
        for name, branch in {"f.jpg": "north", "o.jpg": "south", "two": "front", "c.jpg": "web"}.items()
    }
    assert rows["two"]["_pages"] == [f"{site.url}/a.jpg", f"{site.url}/b.jpg"]
    assert rows[f"{site.url}/c.jpg"]["_version"] == f'"{hashlib.sha256(site.pages["/c.jpg"]).hexdigest()[:16]}"'
    assert workspace.only("failures")["kind"] == "missing"
    assert SECRET not in workspace.read_all_bytes()

    site.asked.clear()
    bucket.front.asked.clear()
    assert counts(ran(workspace, source, code=1)) == {"found": 5, "skipped": 4, "rejected": 1}
    assert site.methods == ["HEAD"] * 3
    assert [method for method, _, _ in bucket.front.asked] == ["HEAD"]

    site.pages["/b.jpg"] = picture(99)
    assert counts(ran(workspace, source, code=1)) == {
        "found": 5,
        "skipped": 3,
        "rejected": 1,
        "accepted": 1,
        "calls": 1,
    }


@pytest.mark.parametrize(("name", "uri"), [("list.txt", "{}\n"), ("list.jsonl", '{{"uri": "{}"}}\n')])
def test_every_kind_of_manifest_is_a_source(workspace, site, lists, name, uri):
    """Without other columns a row has nothing more to say."""
    assert counts(ran(workspace, lists(uri.format(f"{site.url}/a.jpg"), name))) == {
        "found": 1,
        "accepted": 1,
        "calls": 1,
    }
    assert workspace.only("results")["_manifest"] is None


def test_an_address_of_this_machine_is_not_connected_to_unless_it_is_named(workspace, site, lists):
    """The failure says which setting opens it, and is tried again."""
    source = lists(f"uri\n{site.url}/a.jpg{QUERY}\n")
    row = ran(workspace, source, code=1, env={"TILEWISE_ALLOW_HOSTS": None})
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


def test_urls_are_passed_on_when_asked(workspace, site, lists, server):
    """A picture that would be resized too, where its URL is public; a file is sent as bytes."""
    site.pages["/b.jpg"] = picture(5, (3000, 4000))
    (lists("").parent / "f.jpg").write_bytes(picture(61))
    ran(workspace, lists(f"uri\n{site.url}/a.jpg\n{site.url}/b.jpg\nf.jpg\n"), "--send-urls")
    assert urls(server) == ["bytes", f"{site.url}/a.jpg", f"{site.url}/b.jpg"]
    images = {
        each["image"].rpartition("/")[2]: (each["action"], each["reason"])
        for each in workspace.table("images").to_dicts()
    }
    assert images == {"a.jpg": ("url", "passed_on"), "b.jpg": ("url", "passed_on"), "f.jpg": ("send", "fits")}
    assert workspace.table("results").filter(_action="url")["_sha256"].to_list() == ["", ""]


def test_a_signed_url_is_passed_on_whole_and_written_nowhere(workspace, site, lists, server, replies):
    """Also when the server repeats it in an error, and in its answer."""
    full = f"{site.url}/a.jpg{QUERY}"
    answers = iter(
        [
            replies.error(400, f"cannot fetch {full}"),
            replies.ok({"caption": f"see {full}", "alt_text": None, "tags": []}),
        ]
    )
    server.script = lambda asked: next(answers)
    source = lists(f"uri,link\n{full},{full}\n")
    ended = workspace.run("run", source, *RUN, "--send-urls")
    assert ended.exit_code == 1
    again = workspace.run("run", source, *RUN, "--send-urls", "--redo", "failed")
    assert again.exit_code == 0, again.output
    assert urls(server) == [full, full]
    assert json.loads(workspace.only("results")["_manifest"]) == {"link": f"{site.url}/a.jpg"}
    assert SECRET not in workspace.read_all_bytes() + ended.output + again.output


def test_a_signed_url_whose_picture_would_be_resized_is_fetched(workspace, site, lists, server):
    """A signature that ends must not decide over tokens."""
    site.pages["/a.jpg"] = picture(5, (1500, 2000))
    ran(workspace, lists(f"uri\n{site.url}/a.jpg{QUERY}\n"), "--send-urls", "--bill", "formula")
    assert urls(server) == ["bytes"]
    assert workspace.only("images")["action"] == "resize"


def test_an_object_is_passed_on_by_a_url_that_is_signed_for_it(workspace, bucket, lists, server):
    """The signature is made for the request, and kept out of everything else."""
    workspace.env |= bucket.environ
    bucket.put("o.jpg", picture(60))
    ran(workspace, lists(f"uri\n{bucket.url}/o.jpg\n"), "--send-urls")
    [sent] = urls(server)
    signature = sent.partition("X-Amz-Signature=")[2]
    assert len(signature) == 64
    assert signature not in workspace.read_all_bytes()


def test_local_ocr_is_sent_bytes(workspace, site, lists):
    """It reads no URLs: what was to be passed on is fetched."""
    estimated = workspace.run("run", lists(f"uri\n{site.url}/a.jpg\n"), *RUN, "--send-urls", "--offline", "--dry-run")
    assert json.loads(estimated.stdout)["actions"] == {"send": 1}
    estimated = workspace.run("run", lists(f"uri\n{site.url}/a.jpg\n"), *RUN, "--send-urls", "--dry-run")
    assert json.loads(estimated.stdout)["actions"] == {"url": 1}


def test_a_video_needs_a_dedicated_endpoint(workspace, site, lists, server):
    """Elsewhere it is a failure that another try may cure; nothing of it is fetched, and a file is never sent."""
    source = lists(f"uri\n{site.url}/v.mp4{QUERY}\nv.mp4\n")
    assert counts(ran(workspace, source, code=1)) == {"found": 2, "rejected": 2}
    kinds = {(each["kind"], each["stage"], each["final"]) for each in workspace.table("failures").to_dicts()}
    assert kinds == {("video_not_allowed", "scan", False)}
    assert (site.asked, server.asked) == ([], [])

    row = ran(workspace, source, code=1, env={"TILEWISE_DEDICATED": "1"})
    assert counts(row) == {"found": 2, "rejected": 1, "accepted": 1, "calls": 1}
    assert urls(server) == [f"{site.url}/v.mp4{QUERY}"]
    assert server.asked[0]["messages"][1]["content"][1]["type"] == "video_url"
    assert site.methods == ["HEAD"]
    assert workspace.only("results")["_width"] is None
    assert SECRET not in workspace.read_all_bytes()


@pytest.mark.parametrize(
    ("flags", "env"), [(("--budget", "1"), {}), ((), {"TILEWISE_DAILY_BUDGET": "1"})], ids=["run", "day"]
)
def test_a_budget_needs_to_know_what_a_video_takes(workspace, site, lists, server, flags, env):
    """Nobody knows it before the bill, so a person says it; without, nothing is sent."""
    source, env = lists(f"uri\n{site.url}/v.mp4\n"), {"TILEWISE_DEDICATED": "1", **env}
    ended = workspace.run("run", source, *RUN, *flags, env=env)
    assert (ended.exit_code, ended.stdout, server.asked) == (2, "", [])
    assert ended.stderr.count("\n") == 1
    assert "needs --video-tokens" in ended.stderr
    row = ran(workspace, source, *flags, "--video-tokens", 5000, env=env)
    assert counts(row) == {"found": 1, "accepted": 1, "calls": 1}
    assert workspace.only("calls")["estimated_image_tokens"] == 5000


def test_what_a_video_is_billed_is_asked_for_by_its_flag(workspace, site, lists, server):
    """The price is known here, so none is asked for."""
    flags = [flag for flag in RUN if flag != "--yes"]
    ended = workspace.run("run", lists(f"uri\n{site.url}/v.mp4\n"), *flags, env={"TILEWISE_DEDICATED": "1"})
    assert ended.exit_code == 2
    assert "the cost of a video is unknown: set the maximum with --video-tokens" in ended.stderr
    assert not server.asked


def test_a_budget_does_not_mind_videos_that_are_not_sent(workspace, site, lists):
    """Only what may be billed needs an estimate."""
    assert counts(ran(workspace, lists(f"uri\n{site.url}/v.mp4\n"), "--budget", 1, code=1)) == {
        "found": 1,
        "rejected": 1,
    }


def test_a_limit_looks_at_no_more_than_it_needs(workspace, site, lists):
    """A manifest of many does not keep a trial of two waiting."""
    source = lists("uri\n" + "".join(f"{site.url}/a.jpg?id={number}\n" for number in range(500)))
    assert counts(ran(workspace, source, "--limit", 2)) == {"found": 2, "accepted": 1, "calls": 1, "duplicates": 1}
    assert site.methods.count("HEAD") <= 64


@pytest.mark.parametrize("done", [False, True])
def test_a_sample_asks_for_no_more_headers_than_it_says(workspace, site, lists, done):
    """All rows are counted; of those that are done it shows by the sample how many they are."""
    source = lists("uri\n" + "".join(f"{site.url}/a.jpg?id={number}\n" for number in range(40)))
    if done:
        ran(workspace, source)
    site.asked.clear()
    asked = ("--schema", "caption", "--output", "out", "--sample", 5, "--json")
    said = json.loads(workspace.run("estimate", source, *asked).stdout)
    assert (said["documents"], said["skipped"]) == ((0, 40) if done else (40, 0))
    assert site.methods.count("HEAD") == 5


@pytest.mark.parametrize("command", [("estimate",), ("run", *RUN)])
def test_a_manifest_that_is_wrong_ends_it_before_anything_is_sent(workspace, lists, server, command):
    """Exit 2 and one line that names the file and the row; no table is written."""
    name, *flags = command
    ended = workspace.run(name, lists("uri,page\na.jpg,1\nb.jpg,last\n"), *flags)
    assert (ended.exit_code, ended.stdout, server.asked) == (2, "", [])
    assert ended.stderr.count("\n") == 1
    assert "data row 2" in ended.stderr
    assert workspace.files("out") == []


def test_an_estimate_sends_nothing_and_fetches_headers(workspace, site, lists, server):
    """Of a manifest as of a folder, without a key."""
    source = lists(f"uri\n{site.url}/a.jpg\n{site.url}/gone.jpg\n")
    said = json.loads(workspace.run("estimate", source, "--json", env={"TILEWISE_API_KEY": None}).stdout)
    assert (said["documents"], said["rejected"], said["sampled"]) == (2, 1, False)
    assert server.asked == []
