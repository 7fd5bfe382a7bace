"""plan_url.py: paths and URLs of stored plans, checked before the plan is read."""

import pytest

from extractors.core.errors import ConfigurationError
from extractors.plan.plan_url import check_plan_url, split_plan_url


@pytest.mark.parametrize("url", ["plan.parquet", "/out/plans/plan.csv", "/out/plans/missing.parquet"])
def test_check_plan_url_refuses_other_names_kinds_and_missing_files(url):
    with pytest.raises(ConfigurationError, match=url):
        check_plan_url(url)


def test_check_plan_url_sends_no_request_to_a_bucket():
    """Whether a plan in a bucket exists is known when it is read."""
    check_plan_url("s3://bucket/out/plans/plan.parquet")


def test_split_plan_url_gives_the_folder_and_the_file_name():
    assert split_plan_url("s3://bucket/out/plans/plan.parquet") == ("s3://bucket/out/plans", "plan.parquet")
