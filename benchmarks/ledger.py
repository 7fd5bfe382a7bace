"""What the ledger costs: CPU of one call with every intent and reply recorded in SQLite, and with none recorded.

    python benchmarks/ledger.py [--calls 1500] [--repeats 3]

The call path alone (benchmarks/call_path.py), 500 calls a second, so that commits come as often as in a fast run.
"""

import argparse
import asyncio
import json
import tempfile
from functools import partial
from pathlib import Path

from call_path import call_path, image_block
from measure import own_versions, report, run_in_turn, run_way
from null_server import null_server
from pictures import store_pictures

WAYS = {"ledger": True, "no ledger": False}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps({"cpu": spend(WAYS[options.way], options.url, options.calls) / options.calls}))
        return
    store_pictures("small", 1000)
    with null_server() as (url, server):
        arguments = ("--url", url, "--calls", options.calls)
        usages = run_in_turn({way: partial(run_way, __file__, way, *arguments) for way in WAYS}, options.repeats)
    rows = [(way, used.cpu * 1000, used.cpu / usages["no ledger"].cpu) for way, used in usages.items()]
    title = f"{options.calls:,} calls at 500 a second, server: {server}"
    versions = own_versions("sqlalchemy", "aiohttp")
    report("ledger", title, ("way", "CPU ms a call", "of no ledger"), rows, versions=versions)


def spend(ledger, url, calls):
    """CPU seconds of so many calls."""
    blocks = [image_block(path.read_bytes()) for path in sorted(store_pictures("small", 1000).iterdir())[:16]]
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(call_path(Path(folder), url, blocks, count=calls, rate=500, ledger=ledger))


if __name__ == "__main__":
    main()
