"""A disk that is full or cannot be written, a ledger that somebody holds or that is damaged: said clearly, nothing lost."""

import contextlib
import os
import sqlite3
import subprocess

import pytest

pytestmark = pytest.mark.slow

DOCUMENTS = 24
ROOM = 48 * 1024  # bytes that are left: enough to begin with
ON_SQLITE = pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)


class Disk:
    """A small file system of its own, in memory."""

    def __init__(self, path):
        """Mounts it."""
        self.path = path
        self._mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(path))

    def fill(self):
        """Leaves a little room only."""
        room = os.statvfs(self.path)
        self._ballast.write_bytes(bytes(room.f_bavail * room.f_bsize - ROOM))

    def empty(self):
        """Gives the room back."""
        self._ballast.unlink()

    def lock(self):
        """Makes it read-only."""
        self._mount("-o", "remount,ro", str(self.path))

    def unlock(self):
        """Makes it writable again."""
        self._mount("-o", "remount,rw", str(self.path))

    @property
    def _ballast(self):
        return self.path / "ballast"

    @staticmethod
    def _mount(*args):
        subprocess.run(["mount", *args], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path):
    """A disk of the test's own; only root may mount one."""
    path = tmp_path / "disk"
    path.mkdir()
    try:
        disk = Disk(path)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    yield disk
    subprocess.run(["umount", "--lazy", path], check=True)


@ON_SQLITE
def test_an_output_that_fills_up_loses_nothing(kill_run, disk):
    """It is said in one line, and once there is room again the next run goes on without paying again."""
    documents = kill_run.documents(DOCUMENTS)
    kill_run.workspace.env |= {"TILEWISE_OUTPUT": str(disk.path / "out"), "TILEWISE_CHUNK": "3"}
    disk.fill()
    full = kill_run.run()
    half_written = kill_run.unreadable()
    disk.empty()
    again = kill_run.run()

    assert full.status == 2
    assert f"output '{disk.path}/out' cannot be written" in full.words
    assert "No space left" in full.words
    assert "Traceback" not in full.words
    assert again.status == 0, again.stderr
    assert half_written + kill_run.unreadable() == []
    assert kill_run.names_in("results", "_document") == documents
    assert kill_run.server.answered == DOCUMENTS
    assert kill_run.list_staged() == []
    assert kill_run.odds() == []


@ON_SQLITE
def test_a_ledger_whose_disk_fills_up_stops_the_run(kill_run, disk):
    """Nothing is sent that it could not hold; what it holds is not paid again, and the bill lies within."""
    documents = kill_run.documents(DOCUMENTS)
    kill_run.workspace.env |= {"TILEWISE_LEDGER": f"sqlite:///{disk.path}/ledger.db", "TILEWISE_CHUNK": "3"}
    kill_run.run(env={"TILEWISE_OUTPUT": str(disk.path / "other")})  # the ledger is there, and what it keeps
    kill_run.server.rehearse()
    disk.fill()
    full = kill_run.run()
    disk.empty()
    again = kill_run.run()

    assert full.status == 2
    assert f"ledger '{disk.path}/ledger.db'" in full.words
    assert "full" in full.words
    assert "Traceback" not in full.words
    assert again.status == 0, again.stderr
    assert kill_run.names_in("results", "_document") == documents
    assert kill_run.server.answered <= DOCUMENTS + 4
    assert kill_run.list_staged() == []
    assert kill_run.odds() == []


@ON_SQLITE
def test_an_output_that_cannot_be_written_is_refused_before_anything_is_sent(kill_run, disk):
    """And the run after it was made writable again is as if nothing had been."""
    documents = kill_run.documents(2)
    kill_run.workspace.env["TILEWISE_OUTPUT"] = str(disk.path / "out")
    disk.lock()
    refused = kill_run.run()
    sent = kill_run.server.answered
    disk.unlock()
    again = kill_run.run()

    assert (refused.status, sent) == (2, 0)
    assert f"output '{disk.path}/out' cannot be written" in refused.words
    assert "Traceback" not in refused.words
    assert again.status == 0, again.stderr
    assert kill_run.names_in("results", "_document") == documents
    assert kill_run.odds() == []


@pytest.fixture
def written(kill_run):
    """A scenario after one run; gives its documents and the ledger's path."""
    documents = kill_run.documents(3)
    assert kill_run.run().status == 0
    return documents, kill_run.workspace.folder / "ledger.db"


@ON_SQLITE
def test_a_ledger_that_another_process_holds_is_said_to_be_locked(kill_run, written):
    """After a while of waiting; nothing was sent, and the next run goes on."""
    _, path = written
    kill_run.workspace.images("later.png", size=(40, 41))
    kill_run.server.rehearse()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("begin immediate")
        locked = kill_run.run()
        sent = kill_run.server.answered
        holder.execute("rollback")
    again = kill_run.run()

    assert (locked.status, sent) == (2, 0)
    assert str(path) in locked.words
    assert "locked" in locked.words
    assert "Traceback" not in locked.words
    assert again.status == 0, again.stderr
    assert again.row["accepted"] == 1
    assert kill_run.odds_of_tables() == []


@ON_SQLITE
@pytest.mark.parametrize("at", [0, 4096], ids=["its head", "its pages"])
def test_a_damaged_ledger_is_set_aside(kill_run, written, at):
    """The message says where it is now, what it holds is kept, and the run after that begins a new one."""
    documents, path = written
    noise = b"\xa5" * (path.stat().st_size - at)
    path.write_bytes(path.read_bytes()[:at] + noise)
    refused = kill_run.run()
    kept = [each for each in path.parent.iterdir() if each.is_file() and noise[:4000] in each.read_bytes()]
    again = kill_run.run()

    assert refused.status == 2
    assert "Traceback" not in refused.words
    assert len(kept) == 1
    assert kept[0] != path
    assert str(kept[0]) in refused.words
    assert again.status == 0, again.stderr
    assert kill_run.names_in("results", "_document") == documents
    assert kill_run.server.answered == len(documents)
