"""The job that the flags of a command make."""

import pytest

from extractors.config.job import Job
from extractors.core.errors import ConfigurationError
from flows.flags import collect_job


def test_collect_job_takes_the_fields_of_a_job():
    """Parameters have the names of fields or of flags; None leaves the default."""
    parameters = {"image": "a.jpg", "schema": "receipt", "include": ["*.png"], "exclude": None, "as_json": True}
    assert collect_job(parameters) == Job(source="a.jpg", schema_name="receipt", include=("*.png",))


def test_collect_job_refuses_a_wrong_value():
    """The message names the flag and its value."""
    with pytest.raises(ConfigurationError, match=r"^budget '-1': "):
        collect_job({"source": "in", "budget": "-1"})
