"""What a person names in an output: found without polars, refused with what exists."""

import pytest

from extractors.core.errors import ConfigurationError
from extractors.report.lookup import check_rows, check_run

RUN = "20261120T021500Z-3f9a"


@pytest.fixture
def output(tmp_path):
    """An output with the files of one run, by name only."""
    for table in ("results/schema=receipt", "results/schema=table", "runs"):
        path = tmp_path / table / "run_date=2026-11-20" / f"{RUN}.parquet"
        path.parent.mkdir(parents=True)
        path.touch()
    return str(tmp_path)


@pytest.mark.parametrize(
    ("schema", "run", "named"),
    [("recipt", None, "receipt"), (None, None, "receipt, table"), ("caption", RUN, "receipt, table")],
)
def test_check_rows_names_the_schemas_that_have_rows(output, schema, run, named):
    """A wrong schema, and none where there are several."""
    with pytest.raises(ConfigurationError, match=named):
        check_rows(output, schema, run)


@pytest.mark.parametrize(("schema", "run"), [("table", None), ("table", RUN), (None, RUN)])
def test_check_rows_accepts_a_schema_or_a_run(output, schema, run):
    """A run has one schema, which need not be named."""
    check_rows(output, schema, run)


@pytest.mark.parametrize("run", ["yesterday", RUN + "-2", RUN.replace("3f9a", "0000"), "20261121T021500Z-3f9a"])
def test_check_run_refuses_what_is_not_published(output, run):
    """What is not an id, the name of a volume, and runs without a file, on that day or another."""
    with pytest.raises(ConfigurationError, match=run):
        check_run(output, run)


def test_check_run_accepts_a_published_run(output):
    """By its id, or by default the last one."""
    check_run(output, RUN)
    check_run(output, None)


@pytest.mark.parametrize("run", [None, RUN])
def test_a_bucket_is_not_asked(run):
    """Its answer would take longer than the imports that the check saves."""
    check_rows("s3://bucket/out", None, run)
    check_run("s3://bucket/out", run)
