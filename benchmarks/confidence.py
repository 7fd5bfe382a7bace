"""What `--confidence` costs: CPU and peak memory of whole runs with it and without.

    python benchmarks/confidence.py [--images 500] [--repeats 3]

The server sends the log probabilities of 150 tokens with every reply, in both ways; with `--confidence` they are laid over
the fields, and recorded as columns.
"""

import argparse
from functools import partial

from measure import own_versions, report, run_in_turn
from null_server import null_server
from pictures import store_pictures
from whole_run import run_tilewise

WAYS = {"confidence": ("--confidence",), "no confidence": ()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    folder = store_pictures("small", options.images)
    with null_server(logprobs=150) as (url, server):
        runs = {way: partial(run_tilewise, folder, url, options.images, 64, *flags) for way, flags in WAYS.items()}
        usages = run_in_turn(runs, options.repeats)
    base = usages["no confidence"].cpu
    rows = [(way, used.cpu / options.images * 1000, used.cpu / base, used.peak_mib) for way, used in usages.items()]
    title = f"{options.images:,} receipts sent as they are, server: {server}"
    header = ("way", "CPU ms an image", "of no confidence", "peak MiB")
    report("confidence", title, header, rows, versions=own_versions("polars", "pydantic"))


if __name__ == "__main__":
    main()
