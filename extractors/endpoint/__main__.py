"""The child process: `python -m extractors.endpoint`. It announces its URL as one JSON line on stdout."""

from __future__ import annotations

import argparse
from pathlib import Path

import orjson

from extractors.endpoint.extra import EndpointError
from extractors.endpoint.serve import Options, exit_with_parent, serve


def main() -> None:
    """Serve until the parent goes, or a signal comes."""
    defaults = Options()
    parser = argparse.ArgumentParser(prog="python -m extractors.endpoint", description=__doc__)
    parser.add_argument("--host", default=defaults.host)
    parser.add_argument("--port", type=int, default=defaults.port)
    parser.add_argument("--reader", default=defaults.reader)
    parser.add_argument("--bill", default=defaults.bill)
    parser.add_argument("--latency", type=float, default=defaults.latency)
    parser.add_argument("--rpm", type=float)
    parser.add_argument("--faults", type=Path)
    parser.add_argument("--parent-pipe", action="store_true", help="exit when stdin ends")
    given = vars(parser.parse_args())
    if given.pop("parent_pipe"):
        exit_with_parent()
    try:
        serve(Options(**given), lambda url: print(orjson.dumps({"url": url}).decode(), flush=True))  # noqa: T201  its stdout is the interface
    except EndpointError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
