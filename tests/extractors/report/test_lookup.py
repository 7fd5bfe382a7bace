"""lookup.py: schema and run names are checked without importing polars, and errors name the existing ones."""

import pytest

from extractors.core.errors import ConfigurationError
from extractors.report.lookup import check_rows, check_run

RUN = "20261120T021500Z-3f9a"


@pytest.fixture
def output(tmp_path):
    """An output with empty files of one run."""
    for table in ("results/schema=receipt", "results/schema=table", "runs"):
        path = tmp_path / table / "run_date=2026-11-20" / f"{RUN}.parquet"
        path.parent.mkdir(parents=True)
        path.touch()
    return str(tmp_path)


@pytest.mark.parametrize(
    ("schema", "run", "names"),
    [("recipt", None, "receipt"), (None, None, "receipt, table"), ("caption", RUN, "receipt, table")],
)
def test_check_rows_names_the_schemas_that_have_rows(output, schema, run, names):
    """The error is raised for an unknown schema, and for no schema if there are several."""
    with pytest.raises(ConfigurationError, match=names):
        check_rows(output, schema, run)


@pytest.mark.parametrize(("schema", "run"), [("table", None), ("table", RUN), (None, RUN)])
def test_check_rows_accepts_a_schema_or_a_run(output, schema, run):
    """A run has one schema, which need not be named."""
    check_rows(output, schema, run)


@pytest.mark.parametrize("run", ["yesterday", RUN + "-2", RUN.replace("3f9a", "0000"), "20261121T021500Z-3f9a"])
def test_check_run_refuses_unpublished_runs(output, run):
    """These are an invalid id, the name of a volume, and ids without a file on the same or another day."""
    with pytest.raises(ConfigurationError, match=run):
        check_run(output, run)


def test_check_run_accepts_a_published_run(output):
    """Without an id, the last run is checked."""
    check_run(output, RUN)
    check_run(output, None)


@pytest.mark.parametrize("run", [None, RUN])
def test_checks_skip_an_output_in_a_bucket(run):
    """The request would take longer than the imports that the check saves."""
    check_rows("s3://bucket/out", None, run)
    check_run("s3://bucket/out", run)
