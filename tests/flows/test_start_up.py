"""The modules that a command loads: they are counted, since times depend on the machine."""

import json
import subprocess
import sys

UNUSED_BY_HELP = {"asyncio", "extractors.core.documents", "httpx", "polars", "pydantic", "rich.console", "sqlalchemy"}
# A run of one JPEG from a folder uses no other format, source, ledger or way to run.
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


def list_modules(workspace, *arguments):
    """The modules that are loaded when a command with these arguments ends."""
    result = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        cwd=workspace.folder,
        env=workspace.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stderr.splitlines()[-1]))


def test_help_loads_no_library_of_a_run(workspace):
    """`tilewise --help` needs typer alone."""
    assert sorted(list_modules(workspace, "--help") & UNUSED_BY_HELP) == []


def test_run_of_one_image_loads_only_what_it_uses(workspace, echo):
    """It does not load numpy either, which polars imports when it gets a Decimal."""
    workspace.with_images("a.jpg").using(echo)
    loaded = list_modules(workspace, "run", "in", "--schema", "caption", "--bill", "formula", "--direct")
    assert sorted(loaded & UNUSED_BY_RUN) == []
    assert {"aiohttp", "polars", "sqlalchemy"} <= loaded


def test_schemas_show_loads_only_what_it_prints(workspace):
    """The types of the columns need polars, and no ledger, client or totals."""
    unused = {"extractors.core.totals", "httpx", "rich.live", "sqlalchemy"}
    loaded = list_modules(workspace, "schemas", "show", "caption")
    assert sorted(loaded & unused) == []
    assert "polars" in loaded
