"""What a command loads: modules are counted, since times depend on the machine."""

import json
import subprocess
import sys

UNUSED_BY_HELP = {"asyncio", "extractors.core.documents", "httpx", "polars", "pydantic", "rich.console", "sqlalchemy"}
# Of what a run of one JPEG from a folder does not use: other formats, sources, ledgers and ways to run.
UNUSED_BY_RUN = {
    "extractors.call.faults",
    "extractors.core.tuning",
    "extractors.images.tiff_pixels",
    "extractors.plan.apply",
    "extractors.record.ledger.erasure",
    "extractors.record.ledger.shards",
    "extractors.run.audit",
    "extractors.run.recovery",
    "extractors.run.reparse",
    "extractors.run.shards.coordinator",
    "extractors.run.witness.witness",
    "extractors.scan.manifest.rows",
    "extractors.validate.json_scanner",
    "extractors.validate.marks",
    "extractors.validate.token_text",
    "extractors.validate.witness.document",
    "matplotlib",
    "numpy",
    "obstore",
    "prefect",
    "psycopg",
    "pypdfium2",
    "rapidfuzz",
    "sklearn",
    "sqlalchemy.dialects.postgresql",
    "tenacity",
}
CODE = """
import atexit, json, sys
from flows.cli import main
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
sys.argv[0] = "tilewise"
main()
"""


def modules_of(workspace, *arguments):
    """The modules that the command with these arguments has loaded at its end."""
    ended = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        cwd=workspace.folder,
        env=workspace.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stderr.splitlines()[-1]))


def test_help_loads_no_library_of_a_run(workspace):
    """`tilewise --help` needs typer alone."""
    assert sorted(modules_of(workspace, "--help") & UNUSED_BY_HELP) == []


def test_run_of_one_image_loads_only_what_it_uses(workspace, echo):
    """Neither numpy, for which polars asks when it is given a Decimal, nor what other sources and formats need."""
    workspace.with_images("a.jpg").using(echo)
    loaded = modules_of(workspace, "run", "in", "--schema", "caption", "--bill", "formula", "--direct")
    assert sorted(loaded & UNUSED_BY_RUN) == []
    assert {"aiohttp", "polars", "sqlalchemy"} <= loaded


def test_show_of_schema_loads_only_what_it_prints(workspace):
    """The types of the columns need polars; a ledger, a client and the totals of runs are not imported."""
    unused = {"extractors.core.totals", "httpx", "rich.live", "sqlalchemy"}
    loaded = modules_of(workspace, "schemas", "show", "caption")
    assert sorted(loaded & unused) == []
    assert "polars" in loaded
