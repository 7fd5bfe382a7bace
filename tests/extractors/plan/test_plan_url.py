"""Paths and URLs of stored plans, checked before the plan is read."""

import pytest

from extractors.core.errors import ConfigurationError
from extractors.plan.plan_url import check_plan_url, split_plan_url


@pytest.mark.parametrize("url", ["plan.parquet", "/out/plans/plan.csv", "/out/plans/missing.parquet"])
def test_check_plan_url_refuses(url):
    """A name without a folder, another kind of file, and a local file that does not exist."""
    with pytest.raises(ConfigurationError, match=url):
        check_plan_url(url)


def test_check_plan_url_asks_no_bucket():
    """A plan in a bucket is looked for when it is read."""
    check_plan_url("s3://bucket/out/plans/plan.parquet")


def test_split_plan_url():
    """The folder is an output of its own."""
    assert split_plan_url("s3://bucket/out/plans/plan.parquet") == ("s3://bucket/out/plans", "plan.parquet")
