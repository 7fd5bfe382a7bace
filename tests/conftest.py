"""What every test shares."""

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

START_SECONDS = 60


@pytest.fixture
def anyio_backend():
    """Async tests run on asyncio, the loop that the engine is written for."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres():
    """Makes an empty PostgreSQL database at every call and gives its URL; the server is of these tests alone."""
    psycopg = pytest.importorskip("psycopg", reason="the extra `postgres` is not installed")
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server program here: install Debian's `postgresql` to run this")
    names = (f"ledger_{number}" for number in itertools.count(1))
    with ExitStack() as stack:
        server = stack.enter_context(cluster(programs, psycopg))

        def fresh():
            name = next(names)
            with psycopg.connect(f"postgresql://{server}/postgres", autocommit=True) as connection:
                connection.execute(f"create database {name}")
            return f"postgresql+psycopg://{server}/{name}"

        yield fresh


def server_programs():
    """The folder that holds `initdb` and `postgres`, where there is one: on the PATH, else where Debian puts them."""
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    folders = [*([Path(on_path).resolve().parent] if on_path else []), *debian]
    return next((each for each in folders if (each / "initdb").exists() and (each / "postgres").exists()), None)


def other_user():
    """What makes a program run as somebody else when we are root, as whom PostgreSQL refuses to run."""
    if os.getuid() != 0:
        return {}
    known = {each.pw_name: each for each in pwd.getpwall()}
    user = known.get("postgres") or known["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextmanager
def cluster(programs, psycopg):
    """A PostgreSQL server on the loopback address, without a password and without fsync; gives `user@host:port`."""
    with (
        tempfile.TemporaryDirectory(prefix="tilewise-postgres-", ignore_cleanup_errors=True) as folder,
        ExitStack() as stack,
    ):
        runs_as = other_user()
        if runs_as:
            os.chown(folder, runs_as["user"], runs_as["group"])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        common = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}, **runs_as}
        made = [
            programs / "initdb",
            "--pgdata=data",
            "--auth=trust",
            "--username=tilewise",
            "--encoding=UTF8",
            "--no-sync",
        ]
        subprocess.run(made, check=True, capture_output=True, timeout=START_SECONDS, **common)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": folder,
            "fsync": "off",
            "full_page_writes": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = stack.enter_context((Path(folder) / "log").open("wb"))
        command = [programs / "postgres", "-D", "data", *options]
        with subprocess.Popen(command, stdout=log, stderr=log, **common) as process:
            try:
                server = f"tilewise@127.0.0.1:{port}"
                ready(process, Path(log.name), lambda: psycopg.connect(f"postgresql://{server}/postgres").close())
                yield server
            finally:
                process.send_signal(signal.SIGINT)  # fast: whoever is connected still is cut off


def ready(process, log, connect):
    """Waits until the server takes connections."""
    import psycopg  # noqa: PLC0415  an extra

    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return connect()
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
