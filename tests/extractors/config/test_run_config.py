"""run_config.py: `resolve` combines a job with the settings, and an error names what is missing."""

import os
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from extractors.config.job import Job
from extractors.config.run_config import PriorStats, resolve
from extractors.config.settings import Settings
from extractors.core import LadderStep
from extractors.core.errors import ConfigurationError
from extractors.core.money import FREE, Means
from extractors.core.tiles import Size
from extractors.record.ledger import Ledger
from extractors.record.ledger.memory import Calibration


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory, and an environment without tilewise settings."""
    for name in [name for name in os.environ if name.upper().startswith(("TILEWISE_", "TOGETHER_API_KEY"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(**fields):
    """Settings with a key, a model and these fields."""
    key = fields.pop("key", "sesame")
    base = Settings(**{"model": "a/b", **fields})
    return base.model_copy(update={"api_key": SecretStr(key) if key else None})


def job(**fields):
    """A job for receipts with these fields."""
    return Job(**{"source": "pictures", "schema_name": "receipt", **fields})


@pytest.mark.parametrize(
    ("offline", "flag", "setting", "expected"),
    [
        (False, False, None, False),
        (False, True, None, True),
        (False, False, True, True),
        (True, False, None, True),
        (True, False, False, False),
        (True, True, False, True),
    ],
)
def test_confidence_is_off_by_default_and_on_offline(offline, flag, setting, expected):
    """The flag takes precedence over the setting; neither changes the fingerprint."""
    fields = {} if setting is None else {"confidence": setting}
    config = resolve(job(offline=offline, confidence=flag), settings(**fields))
    assert config.confidence is expected
    assert config.fingerprint == resolve(job(offline=offline), settings()).fingerprint


def test_run_without_a_key_is_refused():
    """The error names the variable to set and `--offline`."""
    with pytest.raises(ConfigurationError) as raised:
        resolve(job(), settings(key=None))
    assert "set TOGETHER_API_KEY, or add --offline to try it with local OCR" in str(raised.value)


def test_run_without_a_model_is_refused():
    """The error names the flag and the setting."""
    with pytest.raises(ConfigurationError, match="no model: name one with --model or TILEWISE_MODEL"):
        resolve(job(), settings(model=None))


def test_run_without_a_schema_is_refused():
    """The error lists the shipped schemas."""
    with pytest.raises(ConfigurationError, match="no schema: add --schema with one of caption, comparison, invoice"):
        resolve(job(schema_name=""), settings())


def test_error_without_a_schema_lists_the_folders_schemas_first(tmp_path):
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "slip.py").touch()
    with pytest.raises(ConfigurationError, match="with one of slip, caption, comparison"):
        resolve(job(schema_name=""), settings())


def test_unknown_schema_is_refused():
    with pytest.raises(ConfigurationError, match="unknown schema 'recipt'"):
        resolve(job(schema_name="recipt"), settings())


def test_estimate_needs_neither_key_nor_model_nor_schema():
    """It sends no request."""
    config = resolve(job(schema_name=""), settings(key=None, model=None), sends=False)
    assert (config.model, config.schema.name, config.offline) == ("", "", False)


@pytest.mark.parametrize(
    ("fields", "settings_fields"),
    [({"offline": True}, {}), ({"base_url": "offline"}, {}), ({}, {"base_url": "offline"})],
)
def test_offline_run_needs_neither_key_nor_model(fields, settings_fields):
    """`--offline` and the base URL `offline` are equivalent."""
    config = resolve(job(**fields), settings(key=None, model=None, **settings_fields))
    assert (config.offline, config.model, config.endpoint) == (True, "offline/rapidocr", "offline")


def test_offline_run_needs_a_schema():
    with pytest.raises(ConfigurationError, match="no schema"):
        resolve(job(offline=True, schema_name=""), settings())


def test_base_url_needs_no_key():
    """A local server may accept calls without one."""
    config = resolve(job(base_url="http://localhost:8000/v1"), settings(key=None))
    assert (config.base_url, config.secret) == ("http://localhost:8000/v1", "")


def test_default_base_url_is_together():
    assert resolve(job(), settings()).base_url == "https://api.together.ai/v1"


def test_job_wins_over_the_settings():
    """A flag applies to this run, a setting to all runs."""
    config = resolve(
        job(model="c/d", base_url="http://job/v1", output="job"),
        settings(model="a/b", base_url="http://settings/v1", output="settings"),
    )
    assert (config.model, config.base_url, Path(config.output).name) == ("c/d", "http://job/v1", "job")


def test_jobs_base_url_wins_over_offline_settings():
    assert resolve(job(base_url="http://job/v1"), settings(base_url="offline")).offline is False


def test_budget_has_the_jobs_and_the_days_limit():
    """Without either, the budget has no limit."""
    assert resolve(job(), settings()).budget.limits is False
    budget = resolve(job(budget="0.5"), settings(daily_budget="20")).budget
    assert (budget.run, budget.day, budget.limits) == (Decimal("0.5"), Decimal(20), True)


def test_endpoint_name_has_no_closing_slash():
    """All tables use the same name, with or without a slash in the setting."""
    assert resolve(job(base_url="https://host:8000/v1/"), settings()).endpoint == "https://host:8000/v1"


@pytest.mark.parametrize(
    "base_url",
    [
        "https://user:geheim@host/v1",
        "https://us@er:geheim@host/v1",
        "https://host/v1?key=geheim",
        "https://host/v1#geheim",
    ],
)
def test_base_url_with_a_secret_is_refused(base_url):
    """The base URL is stored in every table and in Prefect's parameters."""
    with pytest.raises(ValueError, match="must not contain"):
        job(base_url=base_url)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({}, "table"),
        ({"offline": True}, "formula"),
        ({"bill": "qwen3"}, "qwen3"),
        ({"bill": "flat:280"}, "flat:280"),
        ({"bill": "table", "offline": True}, "table"),
    ],
)
def test_bill_rule_is_resolved(fields, rule):
    """`auto` is `table`, or `formula` offline; an explicit rule is used as it is."""
    assert resolve(job(**fields), settings()).rule.name == rule


@pytest.mark.parametrize(
    ("fields", "trusted"),
    [({}, False), ({"bill": "table"}, True), ({"offline": True}, True), ({"bill": "auto"}, False)],
)
def test_explicit_or_offline_rule_is_trusted_but_not_calibrated(fields, trusted):
    """The low estimate uses an explicit rule and the offline endpoint's own rule; neither was measured."""
    tariff = resolve(job(**fields), settings()).tariff(FREE, PriorStats())
    assert (tariff.trusted, tariff.calibrated) == (trusted, False)


@pytest.mark.parametrize(("mean", "expected"), [(None, 250), (77, 77)])
def test_expected_output_tokens_are_the_mean_of_earlier_runs(mean, expected):
    """Without earlier runs they are a quarter of the maximum."""
    tariff = resolve(job(), settings(max_tokens=1000)).tariff(FREE, PriorStats(Means(mean)))
    assert (tariff.output_tokens, tariff.max_tokens) == (expected, 1000)


def test_text_tokens_follow_the_schemas_prompt():
    """Its bytes are the worst case, and a quarter of them the estimate."""
    config = resolve(job(), settings())
    tariff = config.tariff(FREE, PriorStats())
    assert tariff.text_bytes == config.schema.prompt_bytes > 0
    assert tariff.text_tokens == -(-tariff.text_bytes // 4)


def test_offline_concurrency_is_at_most_the_number_of_cores():
    assert resolve(job(offline=True), settings(concurrency=10_000)).concurrency == os.cpu_count()
    assert resolve(job(), settings(concurrency=10_000)).concurrency == 10_000
    assert resolve(job(offline=True), settings(concurrency=1)).concurrency == 1


@pytest.mark.parametrize(
    ("base_url", "setting", "profile"),
    [
        ("https://api.together.ai/v1", None, "together"),
        ("https://api.together.xyz/v1", None, "together"),
        ("https://api.openai.com/v1", None, "openai"),
        ("http://localhost:8000/v1", None, "generic"),
        ("https://together.ai.example.com/v1", None, "generic"),
        ("https://nottogether.ai/v1", None, "generic"),
        ("http://localhost:8000/v1", "vllm", "vllm"),
    ],
)
def test_profile_follows_the_host_unless_it_is_set(base_url, setting, profile):
    assert resolve(job(base_url=base_url), settings(profile=setting)).profile.name == profile


def test_offline_endpoint_gets_no_key():
    """The key is sent to the API only."""
    assert resolve(job(offline=True), settings()).endpoint_at("http://127.0.0.1:1/v1").api_key is None
    assert resolve(job(), settings()).endpoint_at("https://host/v1").api_key == SecretStr("sesame")


def test_repr_of_the_config_hides_the_key():
    """The config may be logged."""
    config = resolve(job(), settings())
    assert config.secret == "sesame"
    assert "sesame" not in repr(config)


@pytest.mark.parametrize("output", ["http://host/out", "ftp://host/out"])
def test_output_of_an_unsupported_scheme_is_refused(output):
    """The error names the output and the supported schemes."""
    with pytest.raises(ConfigurationError, match=f"output '{output}' cannot be written: use a folder, or s3://, gs://"):
        resolve(job(output=output), settings())


def test_bucket_output_has_one_canonical_url():
    """Finished documents are looked up by it, so every spelling of a location gives one name."""
    assert resolve(job(output="S3://bucket/out/"), settings()).run_info(None).output == "s3://bucket/out"
    assert resolve(job(), settings(output="gs://bucket/")).output == "gs://bucket"


@pytest.mark.parametrize("output", ["s3://user:hidden@bucket/out", "az://box/out?sig=hidden", "s3://"])
def test_output_with_a_secret_or_without_a_bucket_is_refused(output):
    """The output is stored in tables and logs."""
    with pytest.raises(ConfigurationError, match=r"^output .* (holds more than a location|names no bucket)") as raised:
        resolve(job(output=output), settings())
    assert "hidden" not in raised.value.message


def test_output_is_absolute(folder):
    """A flow that runs in another directory writes to the same place."""
    assert resolve(job(output="out"), settings()).output == str(folder / "out")
    assert resolve(job(), settings()).output == str(folder / "data" / "out")


def test_run_info_has_the_values_that_all_rows_share(folder):
    """They are the names, the hashes, the resolved rule and the price of one run."""
    config = resolve(job(bill="qwen3", policy="thrifty", output="out"), settings())
    run_info = config.run_info(FREE)
    assert (run_info.source, run_info.output) == (str(folder / "pictures"), str(folder / "out"))
    assert (run_info.endpoint, run_info.model, run_info.schema) == ("https://api.together.ai/v1", "a/b", "receipt")
    assert (run_info.policy, run_info.bill_rule, run_info.price) == ("thrifty", "qwen3", FREE)
    assert run_info.schema_hash == config.schema.hash


def test_run_name_is_the_utc_second_and_four_hex_digits():
    """The digits distinguish runs of one second: `20261120T021500Z-3f9a`."""
    run_info = resolve(job(), settings()).run_info(None)
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}", run_info.run)
    assert run_info.run.startswith(f"{run_info.started_at:%Y%m%dT%H%M%SZ}-")
    assert abs(datetime.now(UTC) - run_info.started_at) < timedelta(minutes=1)


def test_run_name_begins_with_its_start_in_utc():
    """So names sort by time."""
    run_info = resolve(job(), settings()).run_info(None)
    assert datetime.strptime(f"{run_info.run[:15]}+0000", "%Y%m%dT%H%M%S%z") == run_info.started_at.replace(
        microsecond=0
    )


def test_names_of_runs_that_start_at_once_differ():
    config = resolve(job(), settings())
    assert len({config.run_info(None).run for _ in range(4)}) > 1


def test_run_date_is_the_utc_day_of_its_start():
    """It is the partition of all rows of the run."""
    run_info = resolve(job(), settings()).run_info(None)
    assert run_info.run_date == run_info.started_at.date().isoformat()


@pytest.mark.parametrize("change", [{"temperature": 0.5}, {"reasoning": "on"}])
def test_sampling_changes_the_prompt_hash_only(change):
    """Temperature and reasoning are part of the prompt's hash, not of the schema's."""
    first, second = resolve(job(), settings()).run_info(None), resolve(job(), settings(**change)).run_info(None)
    assert first.prompt_hash != second.prompt_hash
    assert first.schema_hash == second.schema_hash


@pytest.mark.parametrize("change", [{"max_tokens": 4096}, {"timeout": 5}, {"concurrency": 2}])
def test_limits_do_not_change_the_prompt_hash(change):
    """Settings that do not affect an answer cause no document to be read again."""
    assert (
        resolve(job(), settings()).run_info(None).prompt_hash
        == resolve(job(), settings(**change)).run_info(None).prompt_hash
    )


def test_tilde_is_the_home_folder_in_source_and_output(monkeypatch, folder):
    monkeypatch.setenv("HOME", str(folder))
    config = resolve(job(source="~/pictures", output="~/out"), settings())
    assert (Path(config.output), Path(config.run_info(None).source)) == (folder / "out", folder / "pictures")


@pytest.fixture
def memory(folder):
    """An empty endpoint memory in a new ledger."""
    with Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        yield ledger.memory


FITTED = "fitted:table:1=1700,2=3400,4=6800"
STEP = LadderStep(1601, Size(900, 700), 1601)


def store_calibration(memory, config, rule="formula", *, explains=True):
    """Stores a calibration (this rule, 1,000 text bytes, 300 text tokens) and returns the config that uses it."""
    calibration = Calibration(rule, explains, 1000, 300, "a/b-0701", datetime.now(UTC))
    memory.keep_calibration(config.fingerprint, "20261101T021500Z-0000", calibration)
    return config.with_calibration(memory)


def test_config_is_unchanged_without_a_calibration(memory):
    config = resolve(job(), settings())
    assert config.with_calibration(memory) is config


@pytest.mark.parametrize(("rule", "name"), [("formula", "formula"), ("flat:280", "flat:280"), (FITTED, "fitted")])
def test_auto_is_the_calibrated_rule(memory, rule, name):
    """Rows name the rule; a rule fitted to the probes is named `fitted`."""
    config = store_calibration(memory, resolve(job(), settings()), rule)
    assert (config.rule.text, config.run_info(FREE).bill_rule) == (rule, name)


def test_low_and_high_estimate_use_the_calibrated_rule(memory):
    tariff = store_calibration(memory, resolve(job(), settings()), FITTED).tariff(FREE, PriorStats())
    assert (tariff.calibrated, tariff.low_tokens(STEP), tariff.high_tokens(STEP)) == (True, 6800, 6800)


def test_rule_that_does_not_explain_the_probes_is_not_the_worst_case(memory):
    """A budget still reserves the highest count of all rules for an image."""
    tariff = store_calibration(memory, resolve(job(), settings()), explains=False).tariff(FREE, PriorStats())
    assert (tariff.calibrated, tariff.rule.name, tariff.high_tokens(STEP)) == (False, "formula", 6404)


def test_explicit_rule_wins_over_the_calibration(memory):
    """The low estimate trusts it, but the worst case does not, because it was not measured."""
    tariff = store_calibration(memory, resolve(job(bill="qwen3"), settings())).tariff(FREE, PriorStats())
    assert (tariff.rule.name, tariff.calibrated, tariff.trusted) == ("qwen3", False, True)
    assert tariff.high_tokens(STEP) == 6404


def test_explicit_rule_equal_to_the_measured_one_is_calibrated(memory):
    tariff = store_calibration(memory, resolve(job(bill="formula"), settings())).tariff(FREE, PriorStats())
    assert (tariff.calibrated, tariff.high_tokens(STEP)) == (True, 1601)


def test_text_tokens_follow_the_probes_until_the_prompt_is_measured(memory):
    """A measurement of the prompt itself takes precedence."""
    config = store_calibration(memory, resolve(job(), settings()))
    assert config.tariff(FREE, PriorStats()).text_tokens == round(config.schema.prompt_bytes * 0.3)
    assert config.tariff(FREE, PriorStats(text_tokens=777)).text_tokens == 777


@pytest.mark.parametrize("other", [{"model": "c/d"}, {"base_url": "http://elsewhere/v1"}, {"offline": True}])
def test_calibration_applies_to_one_model_at_one_endpoint(memory, other):
    store_calibration(memory, resolve(job(), settings()))
    assert resolve(job(**other), settings()).with_calibration(memory).calibration is None


@pytest.mark.parametrize(("offline", "expected"), [(False, True), (True, False)])
def test_offline_endpoint_gets_no_urls_and_no_videos(offline, expected):
    """Local OCR needs the bytes of an image, so images are fetched for it."""
    config = resolve(job(send_urls=True, offline=offline), settings(dedicated=True))
    assert (config.passes_urls, config.takes_videos) == (expected, expected)


def test_urls_and_videos_are_not_sent_by_default():
    config = resolve(job(), settings())
    assert (config.passes_urls, config.takes_videos) == (False, False)
