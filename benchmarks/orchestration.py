"""What Prefect adds to a run: CPU of the run's own process, and the seconds until a schedule fires.

    python benchmarks/orchestration.py run [--images 1000]   10 images and so many, directly and as a flow on a running
                                                             server, in turn: the start, and each image more
    python benchmarks/orchestration.py serve                 `tilewise serve` with a new database: until it is ready, and
                                                             how late its first scheduled run begins

Images are small JPEGs. CPU is that of the whole process, imports and all; Prefect's server and the server of completions
are processes of their own, and not counted.
"""

import argparse
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from functools import partial
from pathlib import Path

import httpx
from measure import clean_environment, own_versions, report, run_in_turn, run_process
from null_server import null_server
from pictures import store_pictures

from flows.serving.server import QUIET

OFTEN = """deployments:
  - name: often
    entrypoint: flows.extract.extract
    schedules: [{interval: 30}]
    parameters: {job: {source: in, schema_name: receipt, "yes": true}}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["run", "serve"], default="run")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    store_pictures("tiny", 10), store_pictures("tiny", options.images)
    with tempfile.TemporaryDirectory() as folder, null_server() as (url, _):
        env = environment(Path(folder), url)
        if options.what == "run":
            runs(Path(folder), env, options.images, options.repeats)
        else:
            serves(Path(folder), env, options.repeats)


def runs(folder, env, images, repeats):
    few = 10
    with server(folder, env) as api:
        flags = {"--direct": {}, "--prefect": {"PREFECT_API_URL": api}}
        ways = {
            f"{count:,} {way}": partial(run_once, folder, env | settings, count, way)
            for count in (few, images)
            for way, settings in flags.items()
        }
        usages = run_in_turn(ways, repeats)
        counted = httpx.post(f"{api}/task_runs/count", json={}, trust_env=False, timeout=60)
    cpu = {way: used.cpu for way, used in usages.items()}
    rows = [
        (way, cpu[f"{few} {way}"], (cpu[f"{images:,} {way}"] - cpu[f"{few} {way}"]) / (images - few) * 1000)
        for way in flags
    ]
    header = ("way", f"CPU s of {few} images", "CPU ms of each image more")
    title = f"{few} and {images:,} images, on a running Prefect server"
    documents = repeats * (few + images)
    facts = {"task_runs": counted.json(), "documents": documents, "versions": own_versions("prefect")}
    report("orchestration run", title, header, rows, **facts)


def serves(folder, env, times):
    shutil.copytree(store_pictures("tiny", 10), folder / "in")
    rows = []
    (folder / "prefect.yaml").write_text(OFTEN)
    for _ in range(times):
        shutil.rmtree(folder / "prefect", ignore_errors=True)
        began, port = time.time(), free_port()
        command = [sys.executable, "-m", "flows", "serve", "--port", str(port)]
        with subprocess.Popen(
            command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            process.stdout.readline()
            ready = time.time() - began
            late = lateness(f"http://127.0.0.1:{port}/api")
            process.terminate()
        rows.append((ready, late))
    report("orchestration serve", "`tilewise serve`, a new database", ("ready after s", "first run late by s"), rows)


def lateness(api):
    """Seconds between the first run's due time and its start."""
    asked = {"flow_runs": {"start_time": {"is_null_": False}}, "sort": "EXPECTED_START_TIME_ASC"}
    while not (found := httpx.post(f"{api}/flow_runs/filter", json=asked, trust_env=False, timeout=30).json()):
        time.sleep(0.1)
    due, start = (datetime.fromisoformat(found[0][name]) for name in ("expected_start_time", "start_time"))
    return (start - due).total_seconds()


def run_once(folder, env, count, way):
    """One run of so many images, with nothing skipped."""
    command = [
        sys.executable,
        "-m",
        "flows",
        "run",
        store_pictures("tiny", count),
        "--schema",
        "receipt",
        "--redo",
        "all",
    ]
    return run_process([*command, "--bill", "formula", "--yes", way], env=env, cwd=folder)


def environment(folder, url):
    """Settings that leave nothing outside the folder."""
    (folder / "prices.toml").write_text('[models."maker/model"]\ninput = 0.3\noutput = 1.5\n')
    settings = {
        "TILEWISE_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
        "TILEWISE_OUTPUT": str(folder / "out"),
        "TILEWISE_PRICES": str(folder / "prices.toml"),
        "TILEWISE_BASE_URL": url,
        "TILEWISE_API_KEY": "any",
        "TILEWISE_MODEL": "maker/model",
    }
    return clean_environment(**settings) | QUIET | {"PREFECT_HOME": str(folder / "prefect")}


@contextlib.contextmanager
def server(folder, env):
    """Prefect's whole server, and the URL of its API."""
    port = free_port()
    command = [sys.executable, "-m", "flows.serving.server", "local", str(port)]
    with subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.PIPE) as process:
        api = f"http://127.0.0.1:{port}/api"
        while process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{api}/health", trust_env=False).is_success:
                    break
            time.sleep(0.2)
        yield api
        process.terminate()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


if __name__ == "__main__":
    main()
