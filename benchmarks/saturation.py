"""Whether a run keeps a server busy: calls a second of those that are possible, and what a limit of requests costs.

    python benchmarks/saturation.py full         1 s latency, no limit, 128 at once: images a second (`make bench`)
    python benchmarks/saturation.py limited      20 requests a second allowed: how many are used and refused; 90 s
    python benchmarks/saturation.py followed     20 a second, after 45 s 40, after 45 s more 20 again; 3 minutes

The server is the offline endpoint (`--reader echo`) in a process of its own. Rates are counted from the table `calls`, by
the second in which a call was sent.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from io import BytesIO
from pathlib import Path

import httpx
import polars as pl
from measure import own_versions, report
from PIL import Image


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["full", "limited", "followed"], default="full")
    parser.add_argument("--images", type=int, default=3000, help="of `full`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "full":
            full(Path(folder), options.images)
        else:
            {"limited": measure_limit, "followed": measure_changes}[options.what](Path(folder))


def full(folder, images):
    make_images(folder / "in", images)
    with endpoint("--latency", "1") as url:
        sent, cpu = run(folder, url, concurrency=128)
    start = sent["second"].min()
    rate = rate_between(sent, start + 10, sent["second"].max() - 3)
    row = (images, rate, rate / 128, cpu / len(sent) * 1000)
    header = ("images", "images a second", "of 128", "CPU ms an image")
    report("saturation full", "1 s latency, 128 at once, no limit", header, [row], versions=own_versions("aiohttp"))


def measure_limit(folder):
    make_images(folder / "in", 1700)
    with endpoint("--latency", "1", "--rpm", "1200") as url:
        sent, _ = run(folder, url, concurrency=128)
    start = sent["second"].min()
    first, steady = rate_between(sent, start, start + 15), rate_between(sent, start + 15, start + 75)
    shares = (refused_share(sent, start, start + 75), refused_share(sent, start + 15, start + 75))
    header = ("accepted a second in 15 s", "in the 60 s after", "of 20", "refused", "refused after 15 s")
    report("saturation limited", "20 requests a second allowed", header, [(first, steady, steady / 20, *shares)])


def measure_changes(folder):
    make_images(folder / "in", 3200)
    with endpoint("--latency", "1", "--rpm", "1200") as url:
        changes = threading.Thread(target=change, args=(url.removesuffix("/v1"),), daemon=True)
        changes.start()
        sent, _ = run(folder, url, concurrency=128)
    start = sent["second"].min()
    seconds = range(start, min(start + 135, sent["second"].max()), 5)
    rows = [
        (second - start, rate_between(sent, second, second + 5), refused_share(sent, second, second + 5))
        for second in seconds
    ]
    report("saturation followed", "20 requests a second, then 40, then 20", ("s", "accepted a second", "refused"), rows)


def change(root):
    for rpm in (2400, 1200):
        time.sleep(47)
        httpx.put(f"{root}/rehearsal", json={"rpm": rpm})


def make_images(folder, count):
    """Small photographs, all different, within one tile and one rung: they are sent as they are."""
    folder.mkdir()
    noise = random.Random(1)
    for number in range(count):
        pixels = Image.frombytes("L", (60, 40), noise.randbytes(2400)).resize((900, 600), Image.Resampling.BICUBIC)
        buffer = BytesIO()
        pixels.save(buffer, "JPEG", quality=85)
        (folder / f"{number:06d}.jpg").write_bytes(buffer.getvalue())


@contextlib.contextmanager
def endpoint(*options):
    """A base URL of the echoing endpoint."""
    command = [
        sys.executable,
        "-m",
        "extractors.endpoint",
        "--port",
        "0",
        "--reader",
        "echo",
        "--parent-pipe",
        *options,
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait()


def run(folder, url, concurrency):
    """The calls of one run, with the second in which each was sent; and the CPU seconds of the whole process."""
    output = folder / "out"
    settings = {"TILEWISE_LEDGER": f"sqlite:///{folder / 'ledger.db'}", "TILEWISE_CONCURRENCY": str(concurrency)}
    command = [sys.executable, "-m", "flows", "run", str(folder / "in"), "--schema", "receipt", "--direct"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [*command, "--base-url", url, "--model", "any", "--bill", "formula", "--output", str(output), "--yes"],
        env=os.environ | settings,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.returncode)
    calls = pl.read_parquet(output / "calls" / "**" / "*.parquet")
    sent = calls.select("outcome", second=pl.col("started_at").dt.epoch("s"))
    return sent, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rate_between(sent, start, end):
    return len(sent.filter(pl.col("second").is_between(start, end - 1), pl.col("outcome") == "accepted")) / (
        end - start
    )


def refused_share(sent, start, end):
    within = sent.filter(pl.col("second").is_between(start, end - 1))
    return len(within.filter(pl.col("outcome") == "rate_limited")) / max(1, len(within))


if __name__ == "__main__":
    main()
