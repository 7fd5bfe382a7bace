"""job.py: the defaults of a run, and each invalid field is refused by the name of its flag.

Also covers `extractors.config.field_help`.
"""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from extractors.config.job import KINDS, Job, build_job
from extractors.core import REJECT_REASONS
from extractors.core.errors import ConfigurationError
from extractors.core.tiles import NAMES

DEFAULTS = {
    "source": "pictures",
    "schema_name": "",
    "output": None,
    "model": None,
    "base_url": None,
    "policy": None,
    "climb_below": None,
    "bill": "auto",
    "budget": None,
    "limit": None,
    "when_expensive": "plan",
    "plan_only": False,
    "redo": None,
    "kind": None,
    "modified_since": None,
    "modified_until": None,
    "fail_above": 0.0,
    "max_time": None,
    "document_by": None,
    "include": (),
    "exclude": (),
    "send_urls": False,
    "video_tokens": None,
    "shard_size": None,
    "redo_before": None,
    "confidence": False,
    "witness": None,
    "audit": None,
    "offline": False,
    "dry_run": False,
    "yes": False,
}


def test_job_has_the_documented_defaults():
    """Only the source is required."""
    assert build_job(source="pictures").model_dump() == DEFAULTS


@pytest.mark.parametrize("name", [*NAMES, "auto", "flat:1", "flat:280"])
def test_every_bill_rule_is_accepted(name):
    """The rules by name, a flat number, and `auto`."""
    assert build_job(source="a", bill=name).bill == name


@pytest.mark.parametrize("redo", ["failed", "changed", "reparse", "all", None])
def test_every_redo_value_is_accepted(redo):
    assert build_job(source="a", redo=redo).redo == redo


def test_whitespace_around_a_text_is_removed():
    """Text pasted into a form may have it."""
    assert build_job(source=" pictures ", schema_name=" receipt\n").schema_name == "receipt"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("source", "", "source '': String should have at least 1 character"),
        ("source", "  ", "source '  ': String should have at least 1 character"),
        ("source", None, "source None: must be a valid string"),
        ("schema_name", 5, "schema 5: must be a valid string"),
        ("policy", "cheap", "policy 'cheap': must be 'balanced', 'faithful' or 'thrifty'"),
        ("bill", "tile", "bill 'tile': 'tile' is not a bill rule: use formula, table"),
        ("bill", "flat:0", "bill 'flat:0': 'flat:0' is not a bill rule"),
        ("bill", "", "bill '': '' is not a bill rule"),
        ("budget", "0", "budget '0': must be greater than 0"),
        ("limit", 0, "limit 0: must be greater than or equal to 1"),
        ("limit", -3, "limit -3: must be greater than or equal to 1"),
        ("limit", "many", "limit 'many': must be a valid integer"),
        ("redo", "everything", "redo 'everything': must be 'failed', 'changed'"),
        ("budget", -1, "budget -1: must be greater than 0"),
        ("budget", "much", "budget 'much': must be a valid decimal"),
        ("budget", "inf", "budget 'inf': must be a finite number"),
        ("fail_above", -0.1, "fail-above -0.1: must be greater than or equal to 0"),
        ("fail_above", 1.1, "fail-above 1.1: must be less than or equal to 1"),
        ("fail_above", float("nan"), "fail-above nan: must be less than or equal to 1"),
        ("offline", "perhaps", "offline 'perhaps': must be a valid boolean"),
        ("dry_run", "perhaps", "dry-run 'perhaps': must be a valid boolean"),
        ("base_url", 5, "base-url 5: must be a valid string"),
    ],
)
def test_invalid_value_is_refused(field, value, message):
    """The message names the flag, its value and what is allowed."""
    with pytest.raises(ConfigurationError) as raised:
        build_job(**{"source": "a", field: value})
    assert str(raised.value).startswith(message)


def test_unknown_field_is_refused():
    """A mistyped field is not ignored."""
    with pytest.raises(ConfigurationError, match="polcy 'thrifty': Extra inputs are not permitted"):
        build_job(source="a", polcy="thrifty")


def test_job_without_a_source_is_refused():
    with pytest.raises(ConfigurationError, match=r"^source .*Field required"):
        build_job()


def test_all_invalid_values_are_named_in_one_line():
    with pytest.raises(ConfigurationError, match=r"limit 0: .*; policy 'p': ") as raised:
        build_job(source="a", policy="p", limit=0)
    assert "\n" not in str(raised.value)


def test_job_is_immutable():
    """The row of the run stores the job as it was requested."""
    with pytest.raises(ValueError, match="frozen"):
        build_job(source="a").source = "b"


def test_job_round_trips_through_json():
    """The table `runs` stores it, and it can be run again."""
    job = build_job(source="a", bill="flat:280", limit=3, redo="failed", kind="timeout", modified_until="2026-11-20")
    assert Job.model_validate_json(job.model_dump_json()) == job


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_every_field_has_a_title_and_a_description(name):
    """The form shows both."""
    field = Job.model_fields[name]
    assert field.title
    assert field.description.endswith(".")


@pytest.mark.parametrize(
    "url", ["http://localhost:abc/v1", "http://local host/v1", "http://h:0/v1", "http://h:99999/v1"]
)
def test_malformed_base_url_is_refused(url):
    """The port is invalid, or the host contains a space."""
    with pytest.raises(ConfigurationError, match="base-url"):
        build_job(source="a", base_url=url)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("6h", 21_600), ("1d", 86_400), ("2.5", 2.5)]
)
def test_max_time_is_parsed_with_a_unit(text, seconds):
    assert build_job(source="a", max_time=text).max_time == seconds


@pytest.mark.parametrize("text", ["soon", "6 hours", "-1s", "0", "h"])
def test_malformed_max_time_is_refused(text):
    with pytest.raises(ConfigurationError, match="max-time"):
        build_job(source="a", max_time=text)


@pytest.mark.parametrize("kind", KINDS)
def test_every_failure_kind_is_accepted(kind):
    """The kinds are the reject reasons and the failure outcomes."""
    assert build_job(source="a", redo="failed", kind=kind).kind == kind


def test_kinds_include_all_failures_and_no_success():
    """They are the values of the table of failures."""
    assert {*KINDS} > REJECT_REASONS
    assert {"timeout", "off_schema", "context_exceeded"} < {*KINDS}
    assert "accepted" not in KINDS


@pytest.mark.parametrize("kind", ["tiemout", "accepted", "Timeout", ""])
def test_unknown_kind_is_refused(kind):
    """The error lists the allowed kinds."""
    with pytest.raises(ConfigurationError, match=f"^kind '{kind}': use one of {', '.join(KINDS)}$"):
        build_job(source="a", redo="failed", kind=kind)


@pytest.mark.parametrize("redo", [None, "changed", "all"])
def test_kind_without_redo_failed_is_refused(redo):
    """It would select nothing."""
    with pytest.raises(ConfigurationError, match=r"^kind 'timeout': requires --redo failed"):
        build_job(source="a", redo=redo, kind="timeout")


def test_invalid_redo_is_the_only_error_reported():
    """The kind beside it may be correct."""
    with pytest.raises(ConfigurationError, match=r"^redo 'failde': [^;]*$"):
        build_job(source="a", redo="failde", kind="timeout")


DAY, END = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 20, 23, 59, 59, 999_999, tzinfo=UTC)
TWO = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("bound", "since", "until"),
    [
        ("2026-11-20", DAY, END),
        (" 2026-11-20 ", DAY, END),
        (date(2026, 11, 20), DAY, END),
        ("2026-11-20T02:00", TWO, TWO),
        ("2026-11-20 02:00:00", TWO, TWO),
        ("2026-11-20T02:00:00Z", TWO, TWO),
        ("2026-11-20T03:00:00+01:00", TWO, TWO),
        (datetime(2026, 11, 20, 2, 0), TWO, TWO),  # noqa: DTZ001  a form may send it
        (datetime(2026, 11, 20, 3, 0, tzinfo=timezone(timedelta(hours=1))), TWO, TWO),
    ],
)
def test_window_bound_is_a_utc_day_or_time(bound, since, until):
    """A day is included whole at both ends; a time without a zone is UTC."""
    assert build_job(source="a", modified_since=bound).window == (since, None)
    assert build_job(source="a", modified_until=bound).window == (None, until)


@pytest.mark.parametrize("field", ["modified_since", "modified_until"])
@pytest.mark.parametrize(
    "bound", ["yesterday", "20.11.2026", "2026-11-31", "2026-11-20T25:00", "", 5, "0001-01-01T00:00+05:00"]
)
def test_malformed_window_bound_is_refused(field, bound):
    """The message names the flag, its value and the expected format."""
    flag = field.replace("_", "-")
    with pytest.raises(ConfigurationError, match="not a UTC day or time: write 2026-11-20 or ") as raised:
        build_job(source="a", **{field: bound})
    assert raised.value.message.startswith(f"{flag} {bound!r}: ")


def test_window_that_ends_before_it_begins_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"^modified-until '2026-11-19': is before --modified-since 2026-11-20"
    ):
        build_job(source="a", modified_since="2026-11-20", modified_until="2026-11-19")


def test_window_of_one_day_contains_the_whole_day():
    """Both ends are included."""
    assert build_job(source="a", modified_since="2026-11-20", modified_until="2026-11-20").window == (DAY, END)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T02:15:00.123456Z", datetime(2026, 11, 20, 2, 15, 0, 123_456, tzinfo=UTC)),
        ("2026-11-20T03:15:00+01:00", datetime(2026, 11, 20, 2, 15, tzinfo=UTC)),
    ],
)
def test_redo_before_is_an_instant_and_a_day_means_its_start(text, instant):
    assert build_job(source="a", redo="all", redo_before=text).redo_before == instant


def test_redo_before_without_redo_is_refused():
    with pytest.raises(ConfigurationError, match=r"^redo-before '2026-11-20': requires --redo"):
        build_job(source="a", redo_before="2026-11-20")
