"""start_up.py, and the modules that a command loads: they are counted, since times depend on the machine."""

import json
import ssl
import subprocess
import sys

import pytest
from support.command import AUTHORITY, clean_environment

from flows.start_up import without_certificates

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
    "pygments",
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


AUTHORITIES = """
import ssl
from flows.start_up import without_certificates

with without_certificates():
    import aiohttp.connector
    made = ssl.create_default_context()
checks = [made, *(value for value in vars(aiohttp.connector).values() if isinstance(value, ssl.SSLContext))]
before = [context.cert_store_stats()["x509_ca"] for context in checks]
for context in checks:
    context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
after = [context.cert_store_stats()["x509_ca"] for context in checks]
later = ssl.create_default_context().cert_store_stats()["x509_ca"]
print(before, after, later, {type(context).__name__ for context in checks})
"""


def test_contexts_that_are_made_without_certificates_read_them_when_a_connection_uses_them():
    """The system's certificates are one here. Later contexts read them at once."""
    environment = clean_environment() | {"SSL_CERT_FILE": str(AUTHORITY), "SSL_CERT_DIR": ""}
    command = [sys.executable, "-c", AUTHORITIES]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    assert printed.strip() == "[0, 0, 0] [1, 1, 1] 1 {'SSLContext'}"


def test_contexts_are_as_before_where_the_import_fails():
    with pytest.raises(ImportError), without_certificates():
        raise ImportError
    assert "set_default_verify_paths" not in vars(ssl.SSLContext)
    assert ssl.SSLContext.load_default_certs.__module__ == "ssl"


def read_allocator_setting(workspace, own=None):
    """The setting of Polars' allocator with which a run ends: the defaults of Polars, and behind them what overrides them."""
    code = CODE.replace("sorted(sys.modules)", "__import__('os').environ.get('_RJEM_MALLOC_CONF')")
    command = [sys.executable, "-c", code, "run", "in", "--schema", "receipt", "--dry-run"]
    result = subprocess.run(
        command,
        cwd=workspace.folder,
        env=workspace.environment({"_RJEM_MALLOC_CONF": own}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return json.loads(result.stderr.splitlines()[-1])


def test_run_returns_the_freed_memory_of_polars(workspace):
    assert read_allocator_setting(workspace).endswith("dirty_decay_ms:0,muzzy_decay_ms:0")


def test_users_setting_of_the_allocator_wins(workspace):
    assert read_allocator_setting(workspace, "dirty_decay_ms:70").endswith(",dirty_decay_ms:70")
