"""What `--witness doubtful` adds to a run: CPU and duration of whole runs with and without it, in turn.

    python benchmarks/doubtful.py [--count 1000] [--unsure-every 33] [--kind medium] [--repeats 1]

A server that costs nothing (benchmarks/null_server.py) answers one receipt of 33 with low probabilities; a run with the witness reads
these with local OCR. CPU is of the run and of the processes that read for it: half of what it adds are the seconds that two
free cores need at least.
"""

import argparse
import json
import sys
import tempfile

from measure import own_versions, report, run_in_turn, run_process
from null_server import serve_asyncio
from pictures import DRAWN, store_pictures
from whole_run import tilewise_command, tilewise_environment

LOGPROBS = 60  # tokens of a reply
WAYS = {"no witness": ("--confidence",), "witness, doubtful": ("--confidence", "--witness", "doubtful")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--unsure-every", type=int, default=33)
    parser.add_argument("--kind", choices=DRAWN, default="medium")
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    folder = store_pictures(options.kind, options.count)
    with serve_asyncio(LOGPROBS, options.unsure_every) as url:
        ways = {name: lambda flags=flags: run_once(folder, url, options.count, flags) for name, flags in WAYS.items()}
        usages = run_in_turn(ways, options.repeats)
    off, on = usages.values()
    rows = [(name, used.cpu, used.seconds, used.peak_mib) for name, used in usages.items()]
    rows.append(("added", on.cpu - off.cpu, on.seconds - off.seconds, on.peak_mib - off.peak_mib))
    report(
        "doubtful",
        f"{options.count:,} receipts ({options.kind}), one of {options.unsure_every} doubtful",
        ("run", "CPU s", "seconds", "peak MiB"),
        rows,
        versions=own_versions("tilewise", "rapidocr", "onnxruntime"),
    )


def run_once(folder, url, count, flags):
    """One run into an empty output, of which every receipt has to be accepted."""
    with tempfile.TemporaryDirectory() as place:
        used = run_process(tilewise_command(folder, url, *flags), env=tilewise_environment(place), cwd=place)
    row = json.loads(used.output)
    if row["accepted"] != count or row["warnings"]:
        sys.exit(f"{row['accepted']} of {count} receipts were accepted, warnings: {row['warnings']}")
    return used


if __name__ == "__main__":
    main()
