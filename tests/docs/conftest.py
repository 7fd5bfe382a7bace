"""A workspace in which the documented commands work as they are shown."""

import itertools
import shlex
import shutil

import pytest
from support.markdown import ROOT, RUN, page

# Commands for the reader's own server are sent to that of the tests.
SERVER = "http://localhost:8000/v1"
MANIFEST = "uri\ninvoices/0001.png\n"


class DocsWorkspace:
    """A workspace with everything that the docs name: folders of images, a manifest, a schema, a bucket, a server."""

    def __init__(self, workspace, url):
        self.workspace, self.url, self.bucket = workspace, url, None
        self.numbers = itertools.count(3)
        workspace.env |= {"TILEWISE_OUTPUT": None, "TILEWISE_BASE_URL": url, "TILEWISE_MODEL": "offline/echo"}
        workspace.images("0001.png", "0002.jpg", folder="invoices")
        workspace.images("1.png", "2.png", folder="tickets")
        workspace.images("1.png", "2.png", folder="pairs/shelf")
        (workspace.folder / "list.csv").write_text(MANIFEST)
        (workspace.folder / "mine").mkdir()
        [ticket] = [code for code in page("schemas").blocks("python") if "class Ticket" in code]
        (workspace.folder / "mine" / "ticket.py").write_text(ticket)
        for folder in ("receipts", "tickets"):
            shutil.copytree(ROOT / "data" / "samples" / folder, workspace.folder / "data" / "samples" / folder)

    def publish_run(self):
        """Publishes a run, as pages that show tables or a report require one."""
        result = self.workspace.run("run", "pairs", "--schema", "caption", "--yes")
        assert result.exit_code == 0, result.output

    def run_block(self, lines):
        """Runs the commands of one block, with one new invoice; each must exit with code 0."""
        self.workspace.images(f"{next(self.numbers)}.png", folder="invoices")
        for line in lines:
            result = self.workspace.run(*self.arguments(line))
            assert result.exit_code == 0, f"{line}\n{result.output}"

    def arguments(self, line):
        """The words after the program's name, with the names of this workspace."""
        words = shlex.split(line, comments=True)[1:]
        return [self._resolve(word) for word in words]

    def _resolve(self, word):
        if word == SERVER:
            return self.url
        if self.bucket and word.startswith("s3://my-bucket"):
            return word.replace("s3://my-bucket", self.bucket.url)
        if RUN.search(word):
            table = "plans" if "plans/" in word else "runs"
            return RUN.sub(self._find_newest(table), word)
        return word

    def _find_newest(self, table):
        """The name of the newest plan or run."""
        return max(path.stem for path in (self.workspace.folder / "data" / "out" / table).rglob("*.parquet"))


@pytest.fixture
def docs_workspace(workspace, echo):
    """A workspace for the documented commands."""
    return DocsWorkspace(workspace, echo)


@pytest.fixture
def docs_workspace_with_bucket(docs_workspace, bucket, workspace):
    """The workspace for the documented commands, with a bucket that holds two images."""
    for number, path in enumerate(workspace.images("a.jpg", "b.jpg", folder="bucket"), 1):
        for prefix in ("receipts/2026", "scans"):
            bucket.put(f"{prefix}/{number}.jpg", path.read_bytes())
    workspace.env |= bucket.environ
    docs_workspace.bucket = bucket
    return docs_workspace
