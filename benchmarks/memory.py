"""Whether memory grows with the number of images: peak of whole runs of 1,000, 10,000 and, with `--full`, 100,000.

    python benchmarks/memory.py [--full] [--repeats 3]

Each run is `tilewise run --direct` with ledger and tables, of small JPEGs that all differ, against a server that costs
nothing. `whole_run.py` has the memory of the loops.
"""

import argparse
from functools import partial

from measure import describe_repeats, own_versions, report, run_in_turn
from null_server import null_server
from pictures import store_pictures
from whole_run import run_tilewise


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="100,000 images, too")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    counts = [1000, 10_000, *([100_000] if options.full else [])]
    folders = {count: store_pictures("tiny", count) for count in counts}
    with null_server() as (url, server):
        runs = {f"tilewise, {count:,}": partial(run_tilewise, folders[count], url, count, 64) for count in counts}
        usages = run_in_turn(runs, options.repeats)
    least = usages["tilewise, 1,000"].peak_mib
    rows = [
        (run, used.peak_mib, used.peak_mib - least, used.cpu / count * 1000)
        for count, (run, used) in zip(counts, usages.items(), strict=True)
    ]
    header = ("run", "peak MiB", "above 1,000", "CPU ms an image")
    title = f"whole runs, 64 at once, {describe_repeats(options.repeats)}, server: {server}"
    report("memory", title, header, rows, versions=own_versions("polars", "sqlalchemy"))


if __name__ == "__main__":
    main()
