"""The whole run beside what a user would write instead: CPU of the whole process, and its peak memory.

    python benchmarks/whole_run.py [--only sent] [--only resized] [--repeats 3] [--concurrency 64] [--tilewise-only]

`sent` is 1,000 receipts within 1,119 px that are sent as they are, `resized` 200 receipts of 1 to 2 megapixels, made
smaller to 1,119 px. `tilewise run --direct` with ledger and tables stands beside a loop of instructor and one of LiteLLM
(benchmarks/loops.py), all against the same server that costs nothing (benchmarks/null_server.py), in turn.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from measure import (
    PEERS,
    ROOT,
    clean_environment,
    describe_repeats,
    own_versions,
    peer_versions,
    report,
    run_in_turn,
    run_process,
)
from null_server import null_server
from pictures import store_pictures

CASES = {"sent": ("small", 1000, None), "resized": ("medium", 200, 1119)}
PRICES = '[models."maker/model"]\ninput = 0.3\noutput = 1.5\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=CASES, action="append")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--tilewise-only", action="store_true", help="do not run the loops")
    options = parser.parse_args()
    peers = [] if options.tilewise_only or not PEERS.exists() else ["instructor", "litellm"]
    if not PEERS.exists():
        print("instructor and LiteLLM are left out: `make bench` creates .venv-bench for them", file=sys.stderr)
    with null_server() as (url, server):
        for case in options.only or CASES:
            compare(case, url, server, peers, options)


def compare(case, url, server, peers, options):
    """Print how one case does in each way."""
    kind, count, side = CASES[case]
    folder = store_pictures(kind, count)
    ways = {"tilewise": lambda: run_tilewise(folder, url, count, options.concurrency)}
    for peer in peers:
        ways[peer] = lambda peer=peer: run_loop(peer, folder, url, options.concurrency, side)
    usages = run_in_turn(ways, options.repeats)
    base = usages.get("instructor", usages["tilewise"])
    rows = [
        (name, used.cpu, used.cpu / count * 1000, used.cpu / base.cpu, used.peak_mib) for name, used in usages.items()
    ]
    runs = describe_repeats(options.repeats)
    against = "of instructor" if "instructor" in usages else "of tilewise"
    report(
        f"whole_run {case}",
        f"{count:,} receipts, {'sent as they are' if side is None else f'resized to {side:,} px'},"
        f" {options.concurrency} at once, {runs}, server: {server}",
        ("way", "CPU s", "ms an image", against, "peak MiB"),
        rows,
        versions=peer_versions("instructor", "litellm", "openai") | own_versions("tilewise", "Pillow", "pydantic"),
    )


def run_tilewise(folder, url, count, concurrency, *flags):
    """One whole run into an empty output, with an empty ledger."""
    with tempfile.TemporaryDirectory() as place:
        used = run_process(
            tilewise_command(folder, url, *flags), env=tilewise_environment(place, concurrency), cwd=place
        )
        row = json.loads(used.output)
        if row["accepted"] != count:
            sys.exit(f"{row['accepted']} of {count} receipts were accepted: {used.output}")
        return used


def tilewise_command(folder, url, *flags):
    """The command of one run."""
    start = [sys.executable, "-m", "flows", "run", folder, "--schema", "receipt", "--direct", "--yes", "--json"]
    return [*start, "--base-url", url, "--model", "maker/model", "--bill", "formula", "--output", "out", *flags]


def tilewise_environment(place, concurrency=64):
    """Settings that leave nothing outside the place."""
    (Path(place) / "prices.toml").write_text(PRICES)
    return clean_environment(
        TILEWISE_API_KEY="any",
        TILEWISE_CONCURRENCY=str(concurrency),
        TILEWISE_LEDGER=f"sqlite:///{place}/ledger.db",
        TILEWISE_PRICES=f"{place}/prices.toml",
    )


def run_loop(library, folder, url, concurrency, side):
    """One loop over the folder in the environment of the peers."""
    with tempfile.TemporaryDirectory() as place:
        resize = [] if side is None else ["--resize", side]
        command = [
            PEERS,
            ROOT / "benchmarks" / "loops.py",
            library,
            folder,
            "--url",
            url,
            "--output",
            f"{place}/rows.jsonl",
        ]
        environment = clean_environment(LITELLM_LOCAL_MODEL_COST_MAP="True")  # else it asks GitHub for prices
        return run_process([*command, "--concurrency", concurrency, *resize], env=environment, cwd=place)


if __name__ == "__main__":
    main()
