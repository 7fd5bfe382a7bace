"""A workspace in which the documented commands work as they are shown."""

import itertools
import shlex
import shutil

import pytest
from support.markdown import ROOT, RUN, page

# What shows the receipts to the reader's own server is sent to that of the tests.
SERVER = "http://localhost:8000/v1"
MANIFEST = "uri\ninvoices/0001.png\n"


class Documented:
    """A workspace with what the documentation names: folders of images, a manifest, a schema, a bucket, a server."""

    def __init__(self, workspace, url):
        self.workspace, self.url, self.bucket = workspace, url, None
        self.numbers = itertools.count(3)
        workspace.env |= {"TILEWISE_OUTPUT": None, "TILEWISE_BASE_URL": url, "TILEWISE_MODEL": "offline/echo"}
        workspace.images("0001.png", "0002.jpg", folder="invoices")
        workspace.images("1.png", "2.png", folder="tickets")
        workspace.images("1.png", "2.png", folder="pairs/shelf")
        (workspace.folder / "list.csv").write_text(MANIFEST)
        (workspace.folder / "mine").mkdir()
        [ticket] = [each for each in page("schemas").blocks("python") if "class Ticket" in each]
        (workspace.folder / "mine" / "ticket.py").write_text(ticket)
        for folder in ("receipts", "tickets"):
            shutil.copytree(ROOT / "data" / "samples" / folder, workspace.folder / "data" / "samples" / folder)

    def publish_a_run(self):
        """What a page takes for granted that shows tables or a report."""
        ended = self.workspace.run("run", "pairs", "--schema", "caption", "--yes")
        assert ended.exit_code == 0, ended.output

    def run_block(self, lines):
        """Runs the commands of one block, with an invoice that was not read yet; each must end with exit code 0."""
        self.workspace.images(f"{next(self.numbers)}.png", folder="invoices")
        for line in lines:
            ended = self.workspace.run(*self.arguments(line))
            assert ended.exit_code == 0, f"{line}\n{ended.output}"

    def arguments(self, line):
        """The words behind the program's name, with the names that are known only here."""
        words = shlex.split(line, comments=True)[1:]
        return [self._known(word) for word in words]

    def _known(self, word):
        if word == SERVER:
            return self.url
        if self.bucket and word.startswith("s3://my-bucket"):
            return word.replace("s3://my-bucket", self.bucket.url)
        if RUN.search(word):
            table = "plans" if "plans/" in word else "runs"
            return RUN.sub(self._last(table), word)
        return word

    def _last(self, table):
        """The name of the newest plan or run."""
        return max(path.stem for path in (self.workspace.folder / "data" / "out" / table).rglob("*.parquet"))


@pytest.fixture
def documented(workspace, echo):
    """A workspace for the documented commands."""
    return Documented(workspace, echo)


@pytest.fixture
def with_bucket(documented, bucket, workspace):
    """The same with a bucket that holds two images."""
    for number, path in enumerate(workspace.images("a.jpg", "b.jpg", folder="bucket"), 1):
        for prefix in ("receipts/2026", "scans"):
            bucket.put(f"{prefix}/{number}.jpg", path.read_bytes())
    workspace.env |= bucket.environ
    documented.bucket = bucket
    return documented
