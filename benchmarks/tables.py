"""Puts the tables that `make bench` printed into the documentation, in place of those that stand there.

    make bench | tee bench.txt
    .venv/bin/python benchmarks/tables.py bench.txt docs/benchmarks.md

A table in the documentation follows a comment with the name of its benchmark, `<!-- whole_run sent -->`. Benchmarks that
the file does not hold keep their table.
"""

import argparse
import json
import re
from pathlib import Path

BLOCK = re.compile(r"(?m)^<!-- ([a-z_ ]+) -->\n(?:.+:\n\n(?:\|.*\n)+)?")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("printed", type=Path)
    parser.add_argument("page", type=Path)
    options = parser.parse_args()
    tables = read_tables(options.printed.read_text(encoding="utf-8"))
    page = options.page.read_text(encoding="utf-8")
    options.page.write_text(BLOCK.sub(lambda block: tables.get(block[1], block[0]), page), encoding="utf-8")


def read_tables(printed):
    """The comment, title, day and table of each benchmark, by its name."""
    tables, title, rows = {}, "", []
    for line in printed.splitlines():
        if line.startswith("{"):
            result = json.loads(line)
            name, day = result["benchmark"], result["day"]
            caption = f"{title[:1].upper()}{title[1:]} ({day}):"
            tables[name] = f"<!-- {name} -->\n{caption}\n\n" + "".join(f"{row}\n" for row in rows)
            title, rows = "", []
        elif line.startswith("|"):
            rows.append(line)
        elif line.strip() and not line.startswith("  "):
            title, rows = line, []
    return tables


if __name__ == "__main__":
    main()
