"""How fast calls are sent, against the offline endpoint in a process of its own, echoing.

    python benchmarks/calls.py full      1 s latency, no limit, 128 at once: images a second, and CPU an image
    python benchmarks/calls.py path      CPU of the call path alone, in this process: request joined, sent, reply parsed,
                                         validated, ledgered
    python benchmarks/calls.py ledger    the same at 500 calls a second, with the ledger and without it
    python benchmarks/calls.py limited   20 requests a second allowed: how much of it is used, how many are refused
    python benchmarks/calls.py followed  20 a second, after 45 s 40, after 45 s more 20 again: how fast that is followed

Rates are counted from the table `calls`, by the second in which a call was sent.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path

import httpx
import polars as pl
from PIL import Image

from extractors.call.circuit_breaker import CircuitBreaker
from extractors.call.client import ChatClient
from extractors.call.profiles import Endpoint, find_profile
from extractors.call.rate_limit import Limits, RateLimiter
from extractors.call.request import RequestOptions, RequestTemplate
from extractors.call.retry import Retries
from extractors.call.transport import build_client
from extractors.core import CallRequest, Fingerprint, LadderStep, RunInfo
from extractors.core.money import FREE
from extractors.core.schema import ASK, load
from extractors.core.tiles import Size
from extractors.record.ledger import Ledger
from extractors.record.ledger.writer import LedgerWriter
from extractors.run.journal import DocumentJournal
from extractors.validate import validate


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["full", "path", "ledger", "limited", "followed"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        {"full": full, "path": path, "ledger": ledger, "limited": limited, "followed": followed}[asked.what](
            Path(folder)
        )


def full(folder):
    make_images(folder / "in", 6000)
    with endpoint("--latency", "1") as url:
        sent, cpu = run(folder, url, concurrency=128)
    start = sent["second"].min()
    rate = rate_between(sent, start + 10, sent["second"].max() - 3)
    print(
        f"{rate:.1f} images a second of 128 ({rate / 128:.1%}); {cpu / len(sent) * 1000:.2f} ms CPU an image, start included"
    )


def path(folder, count=6000):
    make_images(folder / "in", 32)
    blocks = [b64block((folder / "in" / f"{number:06d}.jpg").read_bytes()) for number in range(32)]
    with endpoint() as url:
        cpu = asyncio.run(call_path(folder, url, blocks, count=count))
    print(
        f"{cpu / count * 1000:.2f} ms CPU an image of {sum(map(len, blocks)) / len(blocks) / 1000:.0f} KB, 64 at once"
    )


def ledger(folder, count=5000):
    """Both ways in turn, three times each: the ratio of two numbers of one run, whatever else the machine does."""
    make_images(folder / "in", 32)
    blocks = [b64block((folder / "in" / f"{number:06d}.jpg").read_bytes()) for number in range(32)]
    spent = {True: [], False: []}
    with endpoint() as url:
        for turn in range(6):
            noted = turn % 2 == 0
            cpu = asyncio.run(call_path(folder, url, blocks, count=count, rate=500, noted=noted, name=str(turn)))
            spent[noted].append(cpu / count * 1000)
    with_it, without = (statistics.median(spent[noted]) for noted in (True, False))
    print(f"{with_it:.2f} ms CPU an image with the ledger, {without:.2f} without: {with_it / without - 1:+.1%}")


class Unnoted:
    """A journal that keeps nothing."""

    async def intend(self, order):  # noqa: ARG002, D102  as a Journal
        return 0

    async def settle(self, handle, attempt):  # noqa: D102  as a Journal
        pass


async def call_path(folder, url, blocks, *, count, rate=5000, noted=True, name="path"):
    """CPU seconds of so many calls, after a tenth as many to warm up."""
    schema, now = load("receipt"), datetime.now(UTC)
    run_info = RunInfo(
        "r", now, "/in", "/out", Fingerprint(url, "any", "receipt", schema.hash, "p"), "balanced", "formula", FREE
    )
    template = RequestTemplate(schema, ask=ASK, model="any", profile=find_profile(url), style=RequestOptions())
    judge = partial(validate, model=schema.model)
    step, limiter = LadderStep(1601, Size(900, 600), 1601), RateLimiter(Limits(64, rpm=rate * 60), rate=rate)
    with Ledger(f"sqlite:///{folder / name}.db") as opened:
        opened.runs.begin(run_info)
        writer = LedgerWriter(opened.calls, run_info)
        async with build_client(Endpoint(url)) as http:
            caller = ChatClient(http, limiter, Retries(), CircuitBreaker())

            async def worker(numbers):
                for number in numbers:
                    body = template.body([blocks[number % len(blocks)]], 2048)
                    request = CallRequest(str(number), "key", "request", len(body), (step,), 500, 9000, 100, 2048)
                    await caller.call(request, body, DocumentJournal(writer) if noted else Unnoted(), judge)

            async def calls(numbers):
                await asyncio.gather(*(worker(numbers[first::64]) for first in range(64)))

            await calls(range(count // 10))
            before = time.process_time()
            await calls(range(count))
            return time.process_time() - before


def b64block(data):
    return b'{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,' + b64encode(data) + b'"}}'


def limited(folder):
    make_images(folder / "in", 1700)
    with endpoint("--latency", "1", "--rpm", "1200") as url:
        sent, _ = run(folder, url, concurrency=128)
    start = sent["second"].min()
    first, steady = rate_between(sent, start, start + 15), rate_between(sent, start + 15, start + 75)
    print(f"{first:.1f} accepted a second in the first 15 s, {steady:.2f} of 20 in the 60 s after ({steady / 20:.1%})")
    print(
        f"refused: {refused_share(sent, start, start + 75):.2%} of all, {refused_share(sent, start + 15, start + 75):.2%} after 15 s"
    )


def followed(folder):
    make_images(folder / "in", 3200)
    with endpoint("--latency", "1", "--rpm", "1200") as url:
        changes = threading.Thread(target=change, args=(url.removesuffix("/v1"),), daemon=True)
        changes.start()
        sent, _ = run(folder, url, concurrency=128)
    start = sent["second"].min()
    for second in range(start, min(start + 135, sent["second"].max()), 5):
        rate, refused = rate_between(sent, second, second + 5), refused_share(sent, second, second + 5)
        print(f"{second - start:4d} s: {rate:5.1f} accepted a second, {refused:.1%} refused")


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
