"""What starting costs: CPU and peak memory of `tilewise --help`, and of a run of one image beside an instructor loop.

python benchmarks/one_image.py [--repeats 5]
"""

import argparse
import sys
from functools import partial

from measure import PEERS, clean_environment, own_versions, peer_versions, report, run_in_turn, run_process
from null_server import null_server
from pictures import store_pictures
from whole_run import run_loop, run_tilewise


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    folder = store_pictures("small", 1)
    help_command = [sys.executable, "-m", "flows", "--help"]
    with null_server() as (url, server):
        ways = {
            "tilewise --help": partial(run_process, help_command, env=clean_environment()),
            "tilewise run": partial(run_tilewise, folder, url, 1, 64),
        }
        if PEERS.exists():
            ways["instructor"] = partial(run_loop, "instructor", folder, url, 64, None)
        usages = run_in_turn(ways, options.repeats)
    rows = [(way, used.cpu, used.peak_mib) for way, used in usages.items()]
    versions = own_versions("polars", "sqlalchemy", "pydantic") | peer_versions("instructor")
    report("one_image", f"one image, server: {server}", ("command", "CPU s", "peak MiB"), rows, versions=versions)


if __name__ == "__main__":
    main()
