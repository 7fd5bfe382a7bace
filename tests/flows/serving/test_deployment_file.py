"""prefect.yaml, which `prefect deploy` and `tilewise serve` read, and the forms of its deployments.

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
FIRST_FIELDS = [
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
def load_text(tmp_path):
    """Loads the deployments of a file with this text."""

    def read(text):
        path = tmp_path / FILE
        path.write_text(text)
        return load_deployments(path)

    return read


def test_deployments_have_their_schedule_and_concurrency_limits():
    """A nightly run that collides is cancelled; runs that a user starts are queued."""
    deployments = {deployment.name: deployment for deployment in load_deployments(ROOT / FILE)}
    nightly = deployments["nightly"]
    assert list(deployments) == ["nightly", "backfill", "apply", "shard", "estimate", "calibrate"]
    assert nightly.parameters["job"]["fail_above"] == 0.2
    assert nightly.parameters["job"]["when_expensive"] == "run"
    assert [(schedule.cron, schedule.timezone) for schedule in nightly.schedules] == [("15 2 * * *", "UTC")]
    assert (nightly.concurrency_limit.limit, nightly.concurrency_limit.collision_strategy) == (1, "CANCEL_NEW")
    assert {deployments[name].concurrency_limit.collision_strategy for name in ("backfill", "apply")} == {"ENQUEUE"}


@pytest.mark.parametrize("deployment", load_deployments(ROOT / FILE), ids=lambda deployment: deployment.name)
def test_serve_registers_the_values_of_the_file(deployment):
    """A deployment is registered under its flow's own name."""
    runner = deployment.to_runner_deployment()
    assert (runner.name, runner.entrypoint, runner.parameters) == (
        deployment.name,
        deployment.entrypoint,
        deployment.parameters,
    )
    assert runner.flow_name == deployment.entrypoint.rpartition(".")[2]
    assert [schedule.schedule.cron for schedule in runner.schedules or []] == [
        spec.cron for spec in deployment.schedules
    ]


def read_schema(name):
    """The parameter schema that `serve` registers for this deployment."""
    [deployment] = [deployment for deployment in load_deployments(ROOT / FILE) if deployment.name == name]
    return deployment.to_runner_deployment()._parameter_openapi_schema.model_dump(exclude_unset=True)


@pytest.mark.parametrize("deployment", load_deployments(ROOT / FILE), ids=lambda deployment: deployment.name)
def test_served_flow_refuses_additional_parameters(deployment):
    """Prefect's own schema checks the models among its parameters."""
    schema = read_schema(deployment.name)
    plain = parameter_schema(load_flow_from_entrypoint(deployment.entrypoint)).model_dump(exclude_unset=True)
    assert schema["additionalProperties"] is False
    assert schema["required"] == plain["required"] if "required" in plain else True
    for name, model in plain.get("definitions", {}).items():
        registered = schema["definitions"][name]
        assert registered.get("properties", {}).get("form", registered) == model


@pytest.mark.parametrize(("name", "optional"), [("backfill", False), ("nightly", False), ("estimate", True)])
def test_form_marks_only_optional_fields_as_optional(name, optional):
    """Fields with a default are marked as required, and so is the schema except in the form of an estimate."""
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
    """A job needs a source alone, also where the form marks more fields as required."""
    errors = validate({"job": job}, read_schema("backfill"))
    assert [error.json_path.removeprefix("$.") for error in errors] == ([field] if field else [])


def test_jobs_of_the_file_are_valid():
    for deployment in load_deployments(ROOT / FILE):
        assert not deployment.parameters or Job.model_validate(deployment.parameters["job"])


def test_find_file_prefers_the_working_directory(tmp_path, monkeypatch):
    """Elsewhere it finds the file that tilewise ships."""
    monkeypatch.chdir(tmp_path)
    assert find_file() == ROOT / FILE
    (tmp_path / FILE).write_text("deployments: []")
    assert find_file() == Path(FILE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deployments: [", "cannot be read"),
        ("deployments: [{name: a}]", "deployments.0.entrypoint: Field required"),
        ("deployments: [{name: a, entrypoint: b, schedules: [{cron: soon}]}]", "schedules.0"),
        ("deployments: [{name: a, entrypoint: b, parameters: {job: {yes: true}}}]", "put it in quotes"),
    ],
)
def test_load_deployments_names_an_invalid_file(load_text, text, message):
    """The message is one line with the file, the place in it and the error."""
    with pytest.raises(ConfigurationError, match=FILE) as caught:
        load_text(text)
    assert message in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("flow", [extract, backfill, estimate], ids=lambda flow: flow.name)
def test_form_has_one_job_with_ordered_fields(flow):
    """Every field has a title, a sentence and its own position."""
    schema = parameter_schema(flow)
    fields = schema.definitions["Job"]["properties"]
    assert list(schema.properties) == ["job"]
    order = sorted(fields, key=lambda name: fields[name]["position"])
    assert (order[: len(FIRST_FIELDS)], order[-2:]) == (FIRST_FIELDS, ["plan_only", "yes"])
    assert all(field["title"] and field["description"].endswith(".") for field in fields.values())
    assert len({field["position"] for field in fields.values()}) == len(fields)


@pytest.mark.parametrize(("flow", "model"), [(backfill, "Job"), (apply, "ApplyRequest")], ids=["backfill", "apply"])
def test_optional_fields_have_no_null_option(flow, model):
    """A form would show a choice of None in place of the field."""
    fields = parameter_schema(flow).definitions[model]["properties"].values()
    assert not [
        field for field in fields if {"type": "null"} in field.get("anyOf", ()) or field.get("default", "") is None
    ]
    assert all("type" in field or "anyOf" in field for field in fields)


def test_form_has_a_failure_threshold_and_dates_without_time():
    """The last day is included whole."""
    fields = Job.model_json_schema()["properties"]
    assert fields["fail_above"]["default"] == FAIL_ABOVE
    assert {fields[name]["format"] for name in ("modified_since", "modified_until")} == {"date"}
    assert str(build_job(source="in", modified_until="2026-11-20").modified_until) == "2026-11-20 23:59:59.999999+00:00"


@pytest.mark.parametrize(
    ("fields", "threshold"), [({}, FAIL_ABOVE), ({"fail_above": 0}, 0), ({"fail_above": 0.5}, 0.5)]
)
def test_deployment_run_has_the_default_failure_threshold(fields, threshold):
    """A threshold of the job wins."""
    assert with_failure_threshold(build_job(source="in", **fields)).fail_above == threshold


def test_calibration_form_describes_its_parameters():
    assert all(field["description"] for field in parameter_schema(calibrate).properties.values())


def test_shard_form_describes_its_fields():
    """A shard is one part of a plan; no field is a secret."""
    schema = parameter_schema(shard)
    assert list(schema.properties) == ["spec"]
    fields = schema.definitions["ShardSpec"]["properties"]
    assert list(fields) == ["plan", "run", "number", "first", "count", "offline"]
    assert all(field["title"] and field["description"].endswith(".") for field in fields.values())


def test_form_accepts_schemas_that_are_not_shipped():
    """The shipped names are examples, not an enumeration."""
    field = Job.model_json_schema()["properties"]["schema_name"]
    assert field["examples"] == list_shipped()
    assert "enum" not in field


@pytest.mark.parametrize("name", ["policy", "redo", "kind", "when_expensive", "document_by"])
def test_form_offers_few_values_as_a_choice(name):
    """The values are at the top level of the field, where a form looks for them."""
    assert len(Job.model_json_schema()["properties"][name]["enum"]) >= 2


def test_no_parameter_is_a_secret():
    """Prefect stores parameters as plain text."""
    assert not {
        name
        for name in {**Job.model_fields, **ApplyRequest.model_fields}
        if "key" in name or "secret" in name or "password" in name
    }


@pytest.mark.anyio
@pytest.mark.parametrize("day", [datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC)])
async def test_schedule_runs_once_a_night_across_clock_changes(day):
    """On such a night 02:15 is skipped or occurs twice."""
    nights = await CronSchedule(cron="15 2 * * *", timezone="Europe/Berlin").get_dates(5, start=day)
    assert len({night.date() for night in nights}) == 5
    assert max(nights) - min(nights) < timedelta(days=4, hours=2)


def test_serve_refuses_a_port_in_use(workspace):
    """It prints one line that names the port, and starts nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = workspace.run("serve", "--port", port)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert f"port {port} cannot be used" in result.stderr
    assert not (workspace.folder / "prefect").exists()
