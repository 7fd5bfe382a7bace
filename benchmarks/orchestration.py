"""What Prefect adds to a run: CPU of the run's own process, and the seconds until a schedule fires.

    python benchmarks/orchestration.py run      10 and 10,000 images, directly and as a flow on a running server, in turn:
                                                the fixed start, what each image costs more, documents a task run
    python benchmarks/orchestration.py serve    `tilewise serve` with a new database: until it is ready, and how late its first
                                                scheduled run begins

Images are small JPEGs, the endpoint echoes. CPU is user and system time of the whole process, imports and all; the server
and the endpoint are processes of their own, and not counted.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import httpx
from PIL import Image

from flows.serving.server import QUIET

ROOT = Path(__file__).parents[1]
OFTEN = """deployments:
  - name: often
    entrypoint: flows.extract.extract
    schedules: [{interval: 30}]
    parameters: {job: {source: in, schema_name: caption, "yes": true}}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "serve"])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, endpoint() as url:
        env = environment(Path(folder), url)
        if asked.what == "run":
            runs(Path(folder), env, asked.images, asked.times)
        else:
            serves(Path(folder), env, asked.times)


def runs(folder, env, images, times):
    few = 10
    make_images(folder / "few", few)
    make_images(folder / "many", images)
    with server(folder, env) as api:
        cpu = {
            (source, way): statistics.median(
                cpu_of(folder, env | asked, source, way) for _ in range(times if source == "few" else max(1, times - 1))
            )
            for source in ("few", "many")
            for way, asked in (("--direct", {}), ("--prefect", {"PREFECT_API_URL": api}))
        }
        found = httpx.post(f"{api}/task_runs/count", json={}, trust_env=False, timeout=60)
    start = cpu["few", "--prefect"] - cpu["few", "--direct"]
    each = {way: (cpu["many", way] - cpu["few", way]) / (images - few) * 1000 for way in ("--direct", "--prefect")}
    print(
        f"the start of a flow: {start:.2f} s CPU (direct {cpu['few', '--direct']:.2f}, flow {start + cpu['few', '--direct']:.2f})"
    )
    print(
        f"an image, of {images:,}: {each['--direct']:.3f} ms CPU directly, {each['--prefect']:.3f} as a flow:"
        f" {each['--prefect'] / each['--direct'] - 1:+.1%}"
    )
    tasks, documents = found.json(), times * few + max(1, times - 1) * images
    print(f"{tasks} task runs of {documents:,} documents in {times + max(1, times - 1)} flow runs")


def serves(folder, env, times):
    make_images(folder / "in", 2)
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
        print(f"ready after {ready:.1f} s, the first scheduled run began {late:.1f} s after it was due")


def lateness(api):
    """Seconds between the first run's due time and its start."""
    asked = {"flow_runs": {"start_time": {"is_null_": False}}, "sort": "EXPECTED_START_TIME_ASC"}
    while not (found := httpx.post(f"{api}/flow_runs/filter", json=asked, trust_env=False, timeout=30).json()):
        time.sleep(0.1)
    due, start = (datetime.fromisoformat(found[0][name]) for name in ("expected_start_time", "start_time"))
    return (start - due).total_seconds()


def cpu_of(folder, env, source, way):
    """The CPU seconds of one run of all that is in the source."""
    command = [sys.executable, "-m", "flows", "run", source, "--schema", "caption", "--redo", "all", "--yes", way]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=folder, env=env, **quiet)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


def environment(folder, url):
    """Settings that leave nothing outside the folder."""
    (folder / "prices.toml").write_text('[models."maker/model"]\ninput = 0.3\noutput = 1.5\n')
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TILEWISE_", "PREFECT_"))}
    return (
        kept
        | QUIET
        | {
            "PYTHONPATH": str(ROOT),
            "PREFECT_HOME": str(folder / "prefect"),
            "TILEWISE_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
            "TILEWISE_OUTPUT": str(folder / "out"),
            "TILEWISE_PRICES": str(folder / "prices.toml"),
            "TILEWISE_BASE_URL": url,
            "TILEWISE_API_KEY": "any",
            "TILEWISE_MODEL": "maker/model",
        }
    )


def make_images(folder, count):
    """Pictures that all differ."""
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (300, 200), (number % 256, number // 256 % 256, 9)).save(folder / f"{number:06}.png")


@contextlib.contextmanager
def endpoint():
    """The echo endpoint, and its URL."""
    command = [sys.executable, "-m", "extractors.endpoint", "--reader", "echo", "--port", "0", "--parent-pipe"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        yield json.loads(process.stdout.readline())["url"]
        process.terminate()


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
