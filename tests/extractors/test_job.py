"""job.py: the defaults of a run, and every bad field refused by the name of its flag."""

import pytest

from extractors.errors import ConfigurationError
from extractors.job import Job, job
from extractors.tiles import NAMES

DEFAULTS = {
    "source": "pictures",
    "schema_name": "",
    "output": None,
    "model": None,
    "base_url": None,
    "policy": "balanced",
    "bill": "auto",
    "budget": None,
    "limit": None,
    "redo": None,
    "fail_above": 0.0,
    "max_time": None,
    "document_by": None,
    "send_urls": False,
    "video_tokens": None,
    "offline": False,
    "dry_run": False,
    "yes": False,
}


def test_every_default():
    """A source is all that a job needs."""
    assert job(source="pictures").model_dump() == DEFAULTS


@pytest.mark.parametrize("name", [*NAMES, "auto", "flat:1", "flat:280"])
def test_every_bill_rule_is_allowed(name):
    """The rules by name, a flat number, and `auto`."""
    assert job(source="a", bill=name).bill == name


@pytest.mark.parametrize("redo", ["failed", "changed", "all", None])
def test_every_kind_of_doing_again_is_allowed(redo):
    """What is done is taken again by cause, or not at all."""
    assert job(source="a", redo=redo).redo == redo


def test_space_around_a_text_is_dropped():
    """A form's field may be filled by pasting."""
    assert job(source=" pictures ", schema_name=" receipt\n").schema_name == "receipt"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("source", "", "source '': String should have at least 1 character"),
        ("source", "  ", "source '  ': String should have at least 1 character"),
        ("source", None, "source None: Input should be a valid string"),
        ("schema_name", 5, "schema 5: Input should be a valid string"),
        ("policy", "cheap", "policy 'cheap': Input should be 'balanced', 'faithful' or 'thrifty'"),
        ("bill", "tile", "bill 'tile': 'tile' is not a bill rule: use formula, table"),
        ("bill", "flat:0", "bill 'flat:0': 'flat:0' is not a bill rule"),
        ("bill", "", "bill '': '' is not a bill rule"),
        ("budget", "0", "budget '0': Input should be greater than 0"),
        ("limit", 0, "limit 0: Input should be greater than or equal to 1"),
        ("limit", -3, "limit -3: Input should be greater than or equal to 1"),
        ("limit", "many", "limit 'many': Input should be a valid integer"),
        ("redo", "everything", "redo 'everything': Input should be 'failed', 'changed'"),
        ("budget", -1, "budget -1: Input should be greater than 0"),
        ("budget", "much", "budget 'much': Input should be a valid decimal"),
        ("budget", "inf", "budget 'inf': Input should be a finite number"),
        ("fail_above", -0.1, "fail-above -0.1: Input should be greater than or equal to 0"),
        ("fail_above", 1.1, "fail-above 1.1: Input should be less than or equal to 1"),
        ("fail_above", float("nan"), "fail-above nan: Input should be less than or equal to 1"),
        ("offline", "perhaps", "offline 'perhaps': Input should be a valid boolean"),
        ("dry_run", "perhaps", "dry-run 'perhaps': Input should be a valid boolean"),
        ("base_url", 5, "base-url 5: Input should be a valid string"),
    ],
)
def test_a_bad_value_is_refused(field, value, message):
    """The message names the flag, its value and what is allowed."""
    with pytest.raises(ConfigurationError) as raised:
        job(**{"source": "a", field: value})
    assert str(raised.value).startswith(message)


def test_an_unknown_field_is_refused():
    """A field that was mistyped is not passed over."""
    with pytest.raises(ConfigurationError, match="polcy 'thrifty': Extra inputs are not permitted"):
        job(source="a", polcy="thrifty")


def test_a_job_without_a_source_is_refused():
    """There is nothing to do."""
    with pytest.raises(ConfigurationError, match=r"^source .*Field required"):
        job()


def test_all_bad_values_are_named_at_once():
    """One line tells of each."""
    with pytest.raises(ConfigurationError, match=r"policy 'p': .*; limit 0: ") as raised:
        job(source="a", policy="p", limit=0)
    assert "\n" not in str(raised.value)


def test_a_job_does_not_change():
    """What was asked for is what is in the row of the run."""
    with pytest.raises(ValueError, match="frozen"):
        job(source="a").source = "b"


def test_a_job_survives_json():
    """The row in `runs` holds it, and it can be asked for again."""
    asked = job(source="a", bill="flat:280", limit=3, redo="all")
    assert Job.model_validate_json(asked.model_dump_json()) == asked


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_every_field_has_words_for_a_form(name):
    """A person fills the form by title and description."""
    field = Job.model_fields[name]
    assert field.title
    assert field.description.endswith(".")


@pytest.mark.parametrize(
    "url", ["http://localhost:abc/v1", "http://local host/v1", "http://h:0/v1", "http://h:99999/v1"]
)
def test_an_address_that_is_none_is_refused(url):
    """A port that is no port, a space in a name."""
    with pytest.raises(ConfigurationError, match="base-url"):
        job(source="a", base_url=url)


@pytest.mark.parametrize(
    ("written", "seconds"), [("90s", 90), ("30m", 1800), ("6h", 21_600), ("1d", 86_400), ("2.5", 2.5)]
)
def test_a_time_is_written_as_people_write_it(written, seconds):
    assert job(source="a", max_time=written).max_time == seconds


@pytest.mark.parametrize("written", ["soon", "6 hours", "-1s", "0", "h"])
def test_a_time_that_is_none_is_refused(written):
    with pytest.raises(ConfigurationError, match="max-time"):
        job(source="a", max_time=written)
