"""A full or read-only disk and a locked or damaged ledger: a clear message, and no answer is lost."""

import contextlib
import os
import sqlite3
import subprocess

import pytest

pytestmark = pytest.mark.slow

DOCUMENTS = 24
ROOM = 48 * 1024  # free bytes: enough to start a run
ON_SQLITE = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


class Disk:
    """A small file system in memory."""

    def __init__(self, path):
        """Mounts it."""
        self.path = path
        self._mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path))

    def fill(self):
        """Leaves only `ROOM` bytes free."""
        room = os.statvfs(self.path)
        self._ballast.write_bytes(bytes(room.f_bavail * room.f_bsize - ROOM))

    def empty(self):
        """Removes the ballast."""
        self._ballast.unlink()

    def lock(self):
        """Makes it read-only."""
        self._mount("-o", "remount,ro", str(self.path))

    def unlock(self):
        """Makes it writable."""
        self._mount("-o", "remount,rw", str(self.path))

    @property
    def _ballast(self):
        return self.path / "ballast"

    @staticmethod
    def _mount(*args):
        subprocess.run(["mount", *args], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path):
    """A disk of this test; mounting one needs root."""
    path = tmp_path / "disk"
    path.mkdir()
    try:
        disk = Disk(path)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    yield disk
    subprocess.run(["umount", "--lazy", path], check=True)


@ON_SQLITE
def test_full_output_disk_stops_the_run_and_keeps_answers(scenario, disk):
    """With free space, the next run completes it without paying again."""
    documents = scenario.write_documents(DOCUMENTS)
    scenario.workspace.env |= {"TILEWISE_OUTPUT": str(disk.path / "out"), "TILEWISE_CHUNK": "3"}
    disk.fill()
    full = scenario.run()
    half_written = scenario.list_unreadable()
    disk.empty()
    second = scenario.run()

    assert full.status == 2
    assert f"output '{disk.path}/out' cannot be written" in full.text
    assert "No space left" in full.text
    assert "Traceback" not in full.text
    assert second.status == 0, second.stderr
    assert half_written + scenario.list_unreadable() == []
    assert scenario.sorted_column("results", "_document") == documents
    assert scenario.server.answered == DOCUMENTS
    assert scenario.list_staged() == []
    assert scenario.contradictions() == []


@ON_SQLITE
def test_full_ledger_disk_stops_the_run(scenario, disk):
    """No call is sent that the ledger could not store, and stored answers are not paid for again."""
    documents = scenario.write_documents(DOCUMENTS)
    scenario.workspace.env |= {"TILEWISE_LEDGER": f"sqlite:///{disk.path}/ledger.db", "TILEWISE_CHUNK": "3"}
    scenario.run(env={"TILEWISE_OUTPUT": str(disk.path / "other")})  # creates the ledger and its memory of the endpoint
    scenario.server.rehearse()
    disk.fill()
    full = scenario.run()
    disk.empty()
    second = scenario.run()

    assert full.status == 2
    assert f"ledger '{disk.path}/ledger.db'" in full.text
    assert "full" in full.text
    assert "Traceback" not in full.text
    assert second.status == 0, second.stderr
    assert scenario.sorted_column("results", "_document") == documents
    assert scenario.server.answered <= DOCUMENTS + 4
    assert scenario.list_staged() == []
    assert scenario.contradictions() == []


@ON_SQLITE
def test_read_only_output_is_refused_before_any_call(scenario, disk):
    """Once it is writable, the next run succeeds."""
    documents = scenario.write_documents(2)
    scenario.workspace.env["TILEWISE_OUTPUT"] = str(disk.path / "out")
    disk.lock()
    refused = scenario.run()
    sent = scenario.server.answered
    disk.unlock()
    second = scenario.run()

    assert (refused.status, sent) == (2, 0)
    assert f"output '{disk.path}/out' cannot be written" in refused.text
    assert "Traceback" not in refused.text
    assert second.status == 0, second.stderr
    assert scenario.sorted_column("results", "_document") == documents
    assert scenario.contradictions() == []


@pytest.fixture
def finished_run(scenario):
    """A scenario after one run: its documents and the ledger's path."""
    documents = scenario.write_documents(3)
    assert scenario.run().status == 0
    return documents, scenario.workspace.folder / "ledger.db"


@ON_SQLITE
def test_ledger_locked_by_another_process_is_refused(scenario, finished_run):
    """Nothing is sent, and the next run succeeds."""
    _, path = finished_run
    scenario.workspace.images("later.png", size=(40, 41))
    scenario.server.rehearse()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("begin immediate")
        locked = scenario.run()
        sent = scenario.server.answered
        holder.execute("rollback")
    second = scenario.run()

    assert (locked.status, sent) == (2, 0)
    assert str(path) in locked.text
    assert "locked" in locked.text
    assert "Traceback" not in locked.text
    assert second.status == 0, second.stderr
    assert second.row["accepted"] == 1
    assert scenario.table_contradictions() == []


@ON_SQLITE
@pytest.mark.parametrize("at", [0, 4096], ids=["its head", "its pages"])
def test_damaged_ledger_is_set_aside(scenario, finished_run, at):
    """The message names its new path, its bytes are kept, and the next run creates a new one."""
    documents, path = finished_run
    noise = b"\xa5" * (path.stat().st_size - at)
    path.write_bytes(path.read_bytes()[:at] + noise)
    refused = scenario.run()
    copies = [file for file in path.parent.iterdir() if file.is_file() and noise[:4000] in file.read_bytes()]
    second = scenario.run()

    assert refused.status == 2
    assert "Traceback" not in refused.text
    assert len(copies) == 1
    assert copies[0] != path
    assert str(copies[0]) in refused.text
    assert second.status == 0, second.stderr
    assert scenario.sorted_column("results", "_document") == documents
    assert scenario.server.answered == len(documents)
