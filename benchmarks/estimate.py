"""What scanning and estimating a folder costs: headers read in memory, and `tilewise estimate` of the whole folder.

    python benchmarks/estimate.py [--files 20000] [--full] [--repeats 3]

Beside it stands what Pillow takes for the same: `Image.open(path).size` of every file, with nothing planned or billed.
The files are hard links to 16 pictures, read before: caches are warm. `--full` takes 100,000 files.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

from measure import clean_environment, own_versions, report, run_in_turn, run_process, run_way
from pictures import store_pictures
from whole_run import PRICES

HEADERS = 20  # of each picture, in memory


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--full", action="store_true", help="100,000 files")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps({"cpu": WAYS[options.way]()}))
        return
    read_headers(options.repeats)
    with tempfile.TemporaryDirectory() as place:
        folder, count = Path(place) / "in", 100_000 if options.full else options.files
        link(folder, count)
        scan(Path(place), folder, count, options.repeats)


def read_headers(repeats):
    """Print what one header takes."""
    ways = {way: lambda way=way: run_way(__file__, way) for way in WAYS}
    store_pictures("small", 1000)
    usages = run_in_turn(ways, repeats)
    rows = [(way, used.cpu * 1e6, used.cpu / usages["Pillow"].cpu) for way, used in usages.items()]
    report("header", "one header, in memory", ("way", "CPU us", "of Pillow"), rows, versions=own_versions("Pillow"))


def scan(place, folder, count, repeats):
    """Print what the whole folder takes."""
    (place / "prices.toml").write_text(PRICES)
    settings = {"TILEWISE_PRICES": str(place / "prices.toml"), "TILEWISE_LEDGER": f"sqlite:///{place}/ledger.db"}
    command = [sys.executable, "-m", "flows", "estimate", folder, "--schema", "receipt", "--model", "maker/model"]
    opening = "import os, sys\nfrom PIL import Image\nfor entry in os.scandir(sys.argv[1]): Image.open(entry.path).size"
    ways = {
        "tilewise estimate": lambda: run_process(
            [*command, "--bill", "formula", "--json"], env=clean_environment(**settings), cwd=place
        ),
        "Pillow": lambda: run_process([sys.executable, "-c", opening, folder], cwd=place),
    }
    usages = run_in_turn(ways, repeats)
    images = json.loads(usages["tilewise estimate"].output)["images"]
    assert images == count, f"{images} of {count}"
    rows = [
        (way, count / used.seconds, count / used.cpu, used.cpu / usages["Pillow"].cpu, used.peak_mib)
        for way, used in usages.items()
    ]
    header = ("way", "files a second", "files a CPU second", "CPU of Pillow", "peak MiB")
    report("estimate", f"a folder of {count:,} JPEGs, start included", header, rows, versions=own_versions("Pillow"))


def tilewise_header():
    """CPU seconds of one header."""
    from extractors.bill.header import read_header

    return one_header(read_header)


def pillow_header():
    """CPU seconds of one header."""
    from PIL import Image

    return one_header(lambda stream: Image.open(stream).size)


def one_header(read):
    pictures = [path.read_bytes() for path in sorted(store_pictures("small", 1000).iterdir())[:16]]
    streams = [BytesIO(data) for data in pictures * HEADERS]
    read(BytesIO(pictures[0]))
    start = time.process_time()
    for stream in streams:
        read(stream)
    return (time.process_time() - start) / len(streams)


def link(folder, count):
    """So many names of 16 pictures."""
    originals = sorted(store_pictures("small", 1000).iterdir())[:16]
    folder.mkdir()
    pictures = [Path(shutil.copy(path, folder.parent / f"picture-{path.name}")) for path in originals]
    for number in range(count):
        os.link(pictures[number % len(pictures)], folder / f"{number:06d}.jpg")


WAYS = {"tilewise": tilewise_header, "Pillow": pillow_header}

if __name__ == "__main__":
    main()
