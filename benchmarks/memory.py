"""Whether memory grows with the number of images: peak of whole runs of 1,000, 10,000 and, with `--full`, 100,000.

    python benchmarks/memory.py [--full] [--repeats 3]

Each run is `tilewise run --direct` with ledger and tables, of small JPEGs that all differ, against a server that costs
nothing. The instructor loop of benchmarks/loops.py stands beside the smallest one.
"""

import argparse
from functools import partial

from measure import PEERS, own_versions, peer_versions, report, run_in_turn
from null_server import null_server
from pictures import store_pictures
from whole_run import run_loop, run_tilewise


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="100,000 images, too")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    counts = [1000, 10_000, *([100_000] if options.full else [])]
    folders = {count: store_pictures("tiny", count) for count in counts}
    with null_server() as (url, server):
        runs = {f"tilewise, {count:,}": partial(run_tilewise, folders[count], url, count, 64) for count in counts}
        if PEERS.exists():
            runs["instructor, 1,000"] = partial(run_loop, "instructor", folders[1000], url, 64, None)
        usages = run_in_turn(runs, options.repeats)
    least = usages["tilewise, 1,000"].peak_mib
    sizes = {**{f"tilewise, {count:,}": count for count in counts}, "instructor, 1,000": 1000}
    rows = [(run, used.peak_mib, used.peak_mib - least, used.cpu / sizes[run] * 1000) for run, used in usages.items()]
    header = ("run", "peak MiB", "above 1,000", "CPU ms an image")
    versions = own_versions("polars", "sqlalchemy") | peer_versions("instructor")
    report("memory", f"whole runs, 64 at once, server: {server}", header, rows, versions=versions)


if __name__ == "__main__":
    main()
