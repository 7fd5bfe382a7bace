"""CPU of one call alone: the request built, sent and answered, the reply parsed and validated.

    python benchmarks/call_path.py [--calls 500] [--repeats 3]

tilewise's path also keeps a ledger and a rate limit, and retries. Beside it: bare httpx, httpx on aiohttp's transport, the
OpenAI SDK, instructor and LiteLLM, each validating the reply by the same schema. All send the same pictures, read and
encoded before, 64 at once, to a server that costs nothing; a tenth as many calls come first and are not counted.
"""

import argparse
import asyncio
import json
import tempfile
import time
from base64 import b64encode
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from measure import PEERS, own_versions, peer_versions, report, run_in_turn, run_way
from null_server import null_server
from pictures import store_pictures

CONCURRENCY = 64
BARE, LIBRARIES = ("httpx", "httpx-aiohttp"), ("openai", "instructor", "litellm")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps({"cpu": asyncio.run(spend(options.way, options.url, options.calls)) / options.calls}))
        return
    store_pictures("small", 1000)
    ways = ["tilewise", *BARE, *(LIBRARIES if PEERS.exists() else ())]
    with null_server() as (url, server):
        arguments = ("--url", url, "--calls", options.calls)
        usages = run_in_turn({way: partial(run_one, way, *arguments) for way in ways}, options.repeats)
    base = usages["httpx-aiohttp"].cpu
    rows = [(way, used.cpu * 1000, used.cpu / base, used.peak_mib) for way, used in usages.items()]
    versions = own_versions("httpx", "aiohttp") | peer_versions("instructor", "litellm", "openai")
    title = f"{options.calls:,} calls, {CONCURRENCY} at once, server: {server}"
    report("call_path", title, ("way", "CPU ms a call", "of httpx-aiohttp", "peak MiB"), rows, versions=versions)


def run_one(way, *arguments):
    """One way in the environment that holds it."""
    return run_way(__file__, way, *arguments, **({"python": PEERS} if way in LIBRARIES else {}))


async def spend(way, url, calls):
    """CPU seconds of so many calls."""
    pictures = [path.read_bytes() for path in sorted(store_pictures("small", 1000).iterdir())[:16]]
    if way == "tilewise":
        with tempfile.TemporaryDirectory() as folder:
            return await call_path(Path(folder), url, [image_block(data) for data in pictures], count=calls)
    from loops import CALLS

    links = ["data:image/jpeg;base64," + b64encode(data).decode() for data in pictures]
    call = CALLS[way](url) if way in CALLS else bare_call(way, url)
    return await time_calls(lambda number: call(links[number % len(links)]), calls)


async def time_calls(call, count):
    """CPU seconds of so many calls, after a tenth as many."""

    async def worker(numbers):
        for number in numbers:
            await call(number)

    async def calls(numbers):
        await asyncio.gather(*(worker(numbers[first::CONCURRENCY]) for first in range(CONCURRENCY)))

    await calls(range(count // 10))
    start = time.process_time()
    await calls(range(count))
    return time.process_time() - start


def bare_call(way, url):
    """A function that posts one request with httpx, as a user writes it."""
    import httpx
    from loops import build_messages

    from schemas.receipt import Receipt

    schema = {"name": "receipt", "schema": Receipt.model_json_schema()}
    body = {"model": "maker/model", "response_format": {"type": "json_schema", "json_schema": schema}}
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    if way == "httpx":
        client = httpx.AsyncClient(timeout=600, limits=limits)
    else:
        from httpx_aiohttp import HttpxAiohttpClient

        client = HttpxAiohttpClient(timeout=600, limits=limits)

    async def call(link):
        reply = await client.post(f"{url}/chat/completions", json=body | {"messages": build_messages(link)})
        return Receipt.model_validate_json(reply.json()["choices"][0]["message"]["content"])

    return call


class NoJournal:
    """A journal that keeps nothing."""

    async def reserve(self, request):  # noqa: ARG002, D102  as a Journal
        return 0

    async def settle(self, handle, attempt):  # noqa: D102  as a Journal
        pass


async def call_path(folder, url, blocks, *, count, rate=5000, ledger=True):
    """CPU seconds of so many calls by the client of a run."""
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

    schema = load("receipt")
    fingerprint = Fingerprint(url, "any", "receipt", schema.hash, "p")
    run_info = RunInfo("r", datetime.now(UTC), "/in", "/out", fingerprint, "balanced", "formula", FREE)
    template = RequestTemplate(schema, ask=ASK, model="any", profile=find_profile(url), style=RequestOptions())
    judge = partial(validate, model=schema.model)
    step, limiter = LadderStep(1601, Size(900, 600), 1601), RateLimiter(Limits(CONCURRENCY, rpm=rate * 60), rate=rate)
    with Ledger(f"sqlite:///{folder}/ledger.db") as opened:
        opened.runs.begin(run_info)
        writer = LedgerWriter(opened.calls, run_info)
        async with build_client(Endpoint(url)) as http:
            client = ChatClient(http, limiter, Retries(), CircuitBreaker())

            async def call(number):
                body = template.body([blocks[number % len(blocks)]], 2048)
                request = CallRequest(str(number), "key", "request", body.size, (step,), 500, 9000, 100, 2048)
                await client.call(request, body, DocumentJournal(writer) if ledger else NoJournal(), judge)

            return await time_calls(call, count)


def image_block(data):
    """The block of a request, as prepare makes it."""
    return b'{"type":"image_url","image_url":{"url":"data:image/jpeg;base64,' + b64encode(data) + b'"}}'


if __name__ == "__main__":
    main()
