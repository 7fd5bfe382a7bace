"""prefect.yaml: one file that `prefect deploy` and `tilewise serve` read, and the forms of what it lists.

Covers `flows.serving.forms`, too.
"""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.flows import load_flow_from_entrypoint
from prefect.server.schemas.schedules import CronSchedule
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate

from extractors.config.job import FAIL_ABOVE, Job, build_job
from extractors.core.errors import ConfigurationError
from extractors.core.schema import list_shipped
from extractors.plan.apply_request import ApplyRequest
from flows.apply import apply
from flows.backfill import backfill
from flows.calibrate import calibrate
from flows.estimate import estimate
from flows.extract import extract, with_failure_threshold
from flows.serving.deployment_file import FILE, find_file, load_deployments
from flows.shard import shard

ROOT = Path(__file__).parents[3]
FIRST = [
    "source",
    "schema_name",
    "model",
    "output",
    "budget",
    "when_expensive",
    "modified_since",
    "modified_until",
    "limit",
]


@pytest.fixture
def written(tmp_path):
    """The deployments of a file that says this."""

    def read(text):
        path = tmp_path / FILE
        path.write_text(text)
        return load_deployments(path)

    return read


def test_the_deployments():
    """What runs at night, what a person starts, and how two at once get on."""
    named = {each.name: each for each in load_deployments(ROOT / FILE)}
    nightly = named["nightly"]
    assert list(named) == ["nightly", "backfill", "apply", "shard", "estimate", "calibrate"]
    assert nightly.parameters["job"]["fail_above"] == 0.2
    assert nightly.parameters["job"]["when_expensive"] == "run"
    assert [(each.cron, each.timezone) for each in nightly.schedules] == [("15 2 * * *", "UTC")]
    assert (nightly.concurrency_limit.limit, nightly.concurrency_limit.collision_strategy) == (1, "CANCEL_NEW")
    assert {named[name].concurrency_limit.collision_strategy for name in ("backfill", "apply")} == {"ENQUEUE"}


@pytest.mark.parametrize("each", load_deployments(ROOT / FILE), ids=lambda each: each.name)
def test_what_is_served_is_what_is_deployed(each):
    """`serve` registers the file's own values, by the flow's own name."""
    made = each.to_runner_deployment()
    assert (made.name, made.entrypoint, made.parameters) == (each.name, each.entrypoint, each.parameters)
    assert made.flow_name == each.entrypoint.rpartition(".")[2]
    assert [schedule.schedule.cron for schedule in made.schedules or []] == [every.cron for every in each.schedules]


def read_schema(name):
    """The parameter schema that `serve` registers for this deployment."""
    [each] = [each for each in load_deployments(ROOT / FILE) if each.name == name]
    return each.to_runner_deployment()._parameter_openapi_schema.model_dump(exclude_unset=True)


@pytest.mark.parametrize("each", load_deployments(ROOT / FILE), ids=lambda each: each.name)
def test_a_served_flow_takes_its_parameters_alone(each):
    """What is registered says so; a model is checked by Prefect's own schema of it."""
    made = read_schema(each.name)
    plain = parameter_schema(load_flow_from_entrypoint(each.entrypoint)).model_dump(exclude_unset=True)
    assert made["additionalProperties"] is False
    assert made["required"] == plain["required"] if "required" in plain else True
    for name, model in plain.get("definitions", {}).items():
        registered = made["definitions"][name]
        assert registered.get("properties", {}).get("form", registered) == model


@pytest.mark.parametrize(("name", "optional"), [("backfill", False), ("nightly", False), ("estimate", True)])
def test_form_calls_only_optional_fields_optional(name, optional):
    """A field with a default, and the schema unless the form is of an estimate, is marked as required."""
    form = read_schema(name)["definitions"]["Job/properties/form"]
    assert {"source", "when_expensive", "bill", "fail_above", "yes", "plan_only"} <= set(form["required"])
    assert not {"model", "budget", "redo", "modified_since", "include", "max_time"} & set(form["required"])
    assert ("schema_name" in form["required"]) is not optional
    assert not [field for field in form["properties"].values() if "anyOf" in field]


@pytest.mark.parametrize(
    ("job", "field"),
    [
        ({"source": "in"}, None),
        ({"source": "in", "budget": None, "limit": None, "model": None, "max_time": 5}, None),
        ({"source": "in", "budget": -1}, "job.budget"),
        ({"source": "in", "plan_only": None}, "job.plan_only"),
        ({"source": "in", "when_expensive": "ask"}, "job.when_expensive"),
        ({"source": "in", "unheard_of": 1}, "job"),
        (None, "job"),
    ],
)
def test_server_checks_a_job_by_its_own_schema(job, field):
    """A job needs a source alone, also where the form calls more required."""
    errors = validate({"job": job}, read_schema("backfill"))
    assert [each.json_path.removeprefix("$.") for each in errors] == ([field] if field else [])


def test_the_jobs_in_the_file_are_jobs():
    """Nothing in it is misspelt or out of range."""
    for each in load_deployments(ROOT / FILE):
        assert not each.parameters or Job.model_validate(each.parameters["job"])


def test_the_working_directorys_file_comes_first(tmp_path, monkeypatch):
    """As for `prefect deploy`; elsewhere it is the one that came with tilewise."""
    monkeypatch.chdir(tmp_path)
    assert find_file() == ROOT / FILE
    (tmp_path / FILE).write_text("deployments: []")
    assert find_file() == Path(FILE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deployments: [", "cannot be read"),
        ("deployments: [{name: a}]", "deployments.0.entrypoint: Field required"),
        ("deployments: [{name: a, entrypoint: b, schedules: [{cron: soon}]}]", "schedules.0"),
        ("deployments: [{name: a, entrypoint: b, parameters: {job: {yes: true}}}]", "put it in quotes"),
    ],
)
def test_a_bad_file_is_named(written, text, said):
    """The file, the place in it, and what is wrong, on one line."""
    with pytest.raises(ConfigurationError, match=FILE) as caught:
        written(text)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("flow", [extract, backfill, estimate], ids=lambda flow: flow.name)
def test_the_form_is_one_job(flow):
    """Every field has a title and a sentence, in the order that a form asks them."""
    schema = parameter_schema(flow)
    fields = schema.definitions["Job"]["properties"]
    assert list(schema.properties) == ["job"]
    order = sorted(fields, key=lambda name: fields[name]["position"])
    assert (order[: len(FIRST)], order[-2:]) == (FIRST, ["plan_only", "yes"])
    assert all(each["title"] and each["description"].endswith(".") for each in fields.values())
    assert len({each["position"] for each in fields.values()}) == len(fields)


@pytest.mark.parametrize(("flow", "model"), [(backfill, "Job"), (apply, "ApplyRequest")], ids=["backfill", "apply"])
def test_what_may_be_left_out_is_left_empty(flow, model):
    """No field asks first whether it is to be None, which a form shows in place of the field."""
    fields = parameter_schema(flow).definitions[model]["properties"].values()
    assert not [each for each in fields if {"type": "null"} in each.get("anyOf", ()) or each.get("default", "") is None]
    assert all("type" in each or "anyOf" in each for each in fields)


def test_a_form_begins_with_what_a_deployment_allows():
    """A share of failures that is forgiven, and days without a time, of which the last one is whole."""
    fields = Job.model_json_schema()["properties"]
    assert fields["fail_above"]["default"] == FAIL_ABOVE
    assert {fields[name]["format"] for name in ("modified_since", "modified_until")} == {"date"}
    assert str(build_job(source="in", modified_until="2026-11-20").modified_until) == "2026-11-20 23:59:59.999999+00:00"


@pytest.mark.parametrize(("fields", "allowed"), [({}, FAIL_ABOVE), ({"fail_above": 0}, 0), ({"fail_above": 0.5}, 0.5)])
def test_a_deployments_run_forgives_some_failures(fields, allowed):
    """A fifth, unless its job says how many."""
    assert with_failure_threshold(build_job(source="in", **fields)).fail_above == allowed


def test_the_form_of_a_calibration():
    """Each of its two parameters has a sentence."""
    assert all(each["description"] for each in parameter_schema(calibrate).properties.values())


def test_the_form_of_a_shard():
    """One piece of a plan, each of whose fields has a title and a sentence; no secret is in it."""
    schema = parameter_schema(shard)
    assert list(schema.properties) == ["spec"]
    fields = schema.definitions["ShardSpec"]["properties"]
    assert list(fields) == ["plan", "run", "number", "first", "count", "offline"]
    assert all(each["title"] and each["description"].endswith(".") for each in fields.values())


def test_a_schema_of_ones_own_may_be_named():
    """The shipped names are examples, not a choice."""
    field = Job.model_json_schema()["properties"]["schema_name"]
    assert field["examples"] == list_shipped()
    assert "enum" not in field


@pytest.mark.parametrize("name", ["policy", "redo", "kind", "when_expensive", "document_by"])
def test_what_has_few_values_is_a_choice(name):
    """Its values stand at the top of the field, where a form looks for them."""
    assert len(Job.model_json_schema()["properties"][name]["enum"]) >= 2


def test_no_parameter_is_a_secret():
    """Prefect stores parameters as they are."""
    assert not {
        name
        for name in {**Job.model_fields, **ApplyRequest.model_fields}
        if "key" in name or "secret" in name or "password" in name
    }


@pytest.mark.anyio
@pytest.mark.parametrize("day", [datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC)])
async def test_a_clock_change_at_the_schedules_hour(day):
    """A night is run once, also where 02:15 is left out or comes twice."""
    nights = await CronSchedule(cron="15 2 * * *", timezone="Europe/Berlin").get_dates(5, start=day)
    assert len({each.date() for each in nights}) == 5
    assert max(nights) - min(nights) < timedelta(days=4, hours=2)


def test_a_port_that_is_taken(workspace):
    """One line that names it, before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = workspace.run("serve", "--port", port)
    assert ended.exit_code == 2
    assert ended.stderr.count("\n") == 1
    assert f"port {port} cannot be used" in ended.stderr
    assert not (workspace.folder / "prefect").exists()
