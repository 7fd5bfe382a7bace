"""run_config.py: a job and the settings resolved, and what is missing said in words."""

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
    """An empty working directory, and an environment without a setting."""
    for name in [name for name in os.environ if name.upper().startswith(("TILEWISE_", "TOGETHER_API_KEY"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(**fields):
    """Settings with a key and a model, and with these on top."""
    key = fields.pop("key", "sesame")
    made = Settings(**{"model": "a/b", **fields})
    return made.model_copy(update={"api_key": SecretStr(key) if key else None})


def job(**fields):
    """A job for receipts, with these fields on top."""
    return Job(**{"source": "pictures", "schema_name": "receipt", **fields})


@pytest.mark.parametrize(
    ("offline", "flag", "setting", "asked"),
    [
        (False, False, None, False),
        (False, True, None, True),
        (False, False, True, True),
        (True, False, None, True),
        (True, False, False, False),
        (True, True, False, True),
    ],
)
def test_confidence_is_off_by_default_and_on_offline(offline, flag, setting, asked):
    """The flag and the setting win; neither changes what determines an answer."""
    changed = {} if setting is None else {"confidence": setting}
    config = resolve(job(offline=offline, confidence=flag), settings(**changed))
    assert config.confidence is asked
    assert config.fingerprint == resolve(job(offline=offline), settings()).fingerprint


def test_a_run_without_a_key_is_refused():
    """It says what to set and how to try without, and never falls back in silence."""
    with pytest.raises(ConfigurationError) as raised:
        resolve(job(), settings(key=None))
    assert "set TOGETHER_API_KEY, or add --offline to try it with local OCR" in str(raised.value)


def test_a_run_without_a_model_is_refused():
    """It says where to name one and where to find its name."""
    with pytest.raises(ConfigurationError, match="no model: name one with --model or TILEWISE_MODEL"):
        resolve(job(), settings(model=None))


def test_a_run_without_a_schema_is_refused():
    """It lists those that there are."""
    with pytest.raises(ConfigurationError, match="no schema: add --schema with one of caption, comparison, invoice"):
        resolve(job(schema_name=""), settings())


def test_a_run_without_a_schema_is_told_those_of_its_folder(tmp_path):
    """Before those that are shipped."""
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "slip.py").touch()
    with pytest.raises(ConfigurationError, match="with one of slip, caption, comparison"):
        resolve(job(schema_name=""), settings())


def test_an_unknown_schema_is_refused():
    """A run is not begun for a document that nobody knows."""
    with pytest.raises(ConfigurationError, match="unknown schema 'recipt'"):
        resolve(job(schema_name="recipt"), settings())


def test_an_estimate_needs_neither_key_nor_model_nor_schema():
    """What is not sent needs nobody's leave."""
    made = resolve(job(schema_name=""), settings(key=None, model=None), sends=False)
    assert (made.model, made.schema.name, made.offline) == ("", "", False)


@pytest.mark.parametrize(
    ("fields", "more"), [({"offline": True}, {}), ({"base_url": "offline"}, {}), ({}, {"base_url": "offline"})]
)
def test_an_offline_run_needs_neither_key_nor_model(fields, more):
    """`--offline` and a base URL of `offline` are the same."""
    made = resolve(job(**fields), settings(key=None, model=None, **more))
    assert (made.offline, made.model, made.endpoint) == (True, "offline/rapidocr", "offline")


def test_an_offline_run_needs_a_schema():
    """Local reading fills a document as well."""
    with pytest.raises(ConfigurationError, match="no schema"):
        resolve(job(offline=True, schema_name=""), settings())


def test_a_base_url_needs_no_key():
    """A server of one's own may be open."""
    made = resolve(job(base_url="http://localhost:8000/v1"), settings(key=None))
    assert (made.base_url, made.secret) == ("http://localhost:8000/v1", "")


def test_without_a_base_url_calls_go_to_together():
    """The default endpoint."""
    assert resolve(job(), settings()).base_url == "https://api.together.ai/v1"


def test_the_job_wins_over_the_settings():
    """A flag is meant for this run, a setting for all."""
    made = resolve(
        job(model="c/d", base_url="http://job/v1", output="job"),
        settings(model="a/b", base_url="http://settings/v1", output="settings"),
    )
    assert (made.model, made.base_url, Path(made.output).name) == ("c/d", "http://job/v1", "job")


def test_a_job_s_base_url_wins_over_settings_that_are_offline():
    """Who names an endpoint wants it."""
    assert resolve(job(base_url="http://job/v1"), settings(base_url="offline")).offline is False


def test_the_budgets_are_those_of_the_job_and_of_the_day():
    """Either may be without a limit."""
    assert resolve(job(), settings()).budget.limits is False
    made = resolve(job(budget="0.5"), settings(daily_budget="20")).budget
    assert (made.run, made.day, made.limits) == (Decimal("0.5"), Decimal(20), True)


def test_an_endpoint_is_named_by_its_address():
    """The name stands in every table, the same with a closing slash or without."""
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
def test_an_address_that_holds_a_secret_is_refused(base_url):
    """The address stands in every table and in Prefect's parameters, so no secret may be a part of it."""
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
def test_the_rule_is_resolved(fields, rule):
    """`auto` is the larger documented reading, offline the formula; a rule that is given is that rule."""
    assert resolve(job(**fields), settings()).rule.name == rule


@pytest.mark.parametrize(
    ("fields", "trusted"),
    [({}, False), ({"bill": "table"}, True), ({"offline": True}, True), ({"bill": "auto"}, False)],
)
def test_a_rule_is_trusted_where_it_was_given(fields, trusted):
    """The low estimate believes what a person said, and what the offline endpoint bills by; neither was measured."""
    tariff = resolve(job(**fields), settings()).tariff(FREE, PriorStats())
    assert (tariff.trusted, tariff.calibrated) == (trusted, False)


@pytest.mark.parametrize(("mean", "expected"), [(None, 250), (77, 77)])
def test_the_answer_s_length_is_the_mean_of_earlier_runs(mean, expected):
    """Until there is one, a quarter of what an answer may have."""
    tariff = resolve(job(), settings(max_tokens=1000)).tariff(FREE, PriorStats(Means(mean)))
    assert (tariff.output_tokens, tariff.max_tokens) == (expected, 1000)


def test_the_text_is_that_of_the_schema():
    """Its bytes are the worst case, a quarter of them the estimate."""
    made = resolve(job(), settings())
    tariff = made.tariff(FREE, PriorStats())
    assert tariff.text_bytes == made.schema.prompt_bytes > 0
    assert tariff.text_tokens == -(-tariff.text_bytes // 4)


def test_local_reading_is_not_asked_for_more_than_the_cores_can_do():
    """Offline, concurrency ends at the cores."""
    assert resolve(job(offline=True), settings(concurrency=10_000)).concurrency == os.cpu_count()
    assert resolve(job(), settings(concurrency=10_000)).concurrency == 10_000
    assert resolve(job(offline=True), settings(concurrency=1)).concurrency == 1


@pytest.mark.parametrize(
    ("base_url", "named", "profile"),
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
def test_the_profile_follows_the_host_unless_it_is_named(base_url, named, profile):
    """Servers differ; the host tells which one this is, a setting knows better."""
    assert resolve(job(base_url=base_url), settings(profile=named)).profile.name == profile


def test_local_reading_is_sent_no_key():
    """The key is for the API alone."""
    assert resolve(job(offline=True), settings()).endpoint_at("http://127.0.0.1:1/v1").api_key is None
    assert resolve(job(), settings()).endpoint_at("https://host/v1").api_key == SecretStr("sesame")


def test_the_key_is_never_shown():
    """A brief can be logged."""
    made = resolve(job(), settings())
    assert made.secret == "sesame"
    assert "sesame" not in repr(made)


@pytest.mark.parametrize("output", ["http://host/out", "ftp://host/out"])
def test_an_output_that_cannot_be_written_is_refused(output):
    """It names the output and what may be used."""
    with pytest.raises(ConfigurationError, match=f"output '{output}' cannot be written: use a folder, or s3://, gs://"):
        resolve(job(output=output), settings())


def test_an_output_in_a_bucket_is_its_url():
    """One name for one place, however it is written: what is done is looked up by it."""
    assert resolve(job(output="S3://bucket/out/"), settings()).run_info(None).output == "s3://bucket/out"
    assert resolve(job(), settings(output="gs://bucket/")).output == "gs://bucket"


@pytest.mark.parametrize("output", ["s3://user:hidden@bucket/out", "az://box/out?sig=hidden", "s3://"])
def test_an_output_holds_a_place_and_no_secret(output):
    """It ends in tables and logs."""
    with pytest.raises(ConfigurationError, match=r"^output .* (holds more than a location|names no bucket)") as raised:
        resolve(job(output=output), settings())
    assert "hidden" not in raised.value.message


def test_the_output_is_absolute(folder):
    """A flow that runs elsewhere writes to the same place."""
    assert resolve(job(output="out"), settings()).output == str(folder / "out")
    assert resolve(job(), settings()).output == str(folder / "data" / "out")


def test_terms_hold_what_every_row_has_in_common(folder):
    """Names, hashes, the resolved rule and the price of one run."""
    made = resolve(job(bill="qwen3", policy="thrifty", output="out"), settings())
    terms = made.run_info(FREE)
    assert (terms.source, terms.output) == (str(folder / "pictures"), str(folder / "out"))
    assert (terms.endpoint, terms.model, terms.schema) == ("https://api.together.ai/v1", "a/b", "receipt")
    assert (terms.policy, terms.bill_rule, terms.price) == ("thrifty", "qwen3", FREE)
    assert terms.schema_hash == made.schema.hash


def test_a_run_is_named_by_its_time():
    """`20261120T021500Z-3f9a`: the UTC second, and four digits that tell two of one second apart."""
    terms = resolve(job(), settings()).run_info(None)
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}", terms.run)
    assert terms.run.startswith(f"{terms.started_at:%Y%m%dT%H%M%SZ}-")
    assert abs(datetime.now(UTC) - terms.started_at) < timedelta(minutes=1)


def test_runs_sort_by_time():
    """The name of an earlier run is smaller, up to the second."""
    made = resolve(job(), settings())
    earlier, later = made.run_info(None), made.run_info(None)
    assert earlier.run[:16] <= later.run[:16]
    assert earlier.run != later.run


def test_the_run_s_day_is_that_of_its_start():
    """The partition of all its rows, in UTC."""
    terms = resolve(job(), settings()).run_info(None)
    assert terms.run_date == terms.started_at.date().isoformat()


@pytest.mark.parametrize("change", [{"temperature": 0.5}, {"reasoning": "on"}])
def test_another_sampling_is_another_prompt(change):
    """Temperature and reasoning are part of the prompt's hash, not of the schema's."""
    one, two = resolve(job(), settings()).run_info(None), resolve(job(), settings(**change)).run_info(None)
    assert one.prompt_hash != two.prompt_hash
    assert one.schema_hash == two.schema_hash


@pytest.mark.parametrize("change", [{"max_tokens": 4096}, {"timeout": 5}, {"concurrency": 2}])
def test_other_limits_are_the_same_prompt(change):
    """What does not change the answer does not have everything read anew."""
    assert (
        resolve(job(), settings()).run_info(None).prompt_hash
        == resolve(job(), settings(**change)).run_info(None).prompt_hash
    )


def test_a_home_folder_may_be_written_as_a_tilde(monkeypatch, folder):
    """In the output as in the source."""
    monkeypatch.setenv("HOME", str(folder))
    made = resolve(job(source="~/pictures", output="~/out"), settings())
    assert (Path(made.output), Path(made.run_info(None).source)) == (folder / "out", folder / "pictures")


@pytest.fixture
def memory(folder):
    """An empty memory of a ledger."""
    with Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        yield ledger.memory


FITTED = "fitted:table:1=1700,2=3400,4=6800"
STEP = LadderStep(1601, Size(900, 700), 1601)


def store_calibration(memory, made, rule="formula", *, explains=True):
    """This brief after probes have shown this rule, by a text of 1,000 bytes and 300 tokens."""
    found = Calibration(rule, explains, 1000, 300, "a/b-0701", datetime.now(UTC))
    memory.keep_calibration(made.fingerprint, "20261101T021500Z-0000", found)
    return made.with_calibration(memory)


def test_without_a_calibration_a_brief_stays_as_it_is(memory):
    made = resolve(job(), settings())
    assert made.with_calibration(memory) is made


@pytest.mark.parametrize(("rule", "name"), [("formula", "formula"), ("flat:280", "flat:280"), (FITTED, "fitted")])
def test_auto_is_the_calibrated_rule(memory, rule, name):
    """In every row by its name; a fitted one is just that."""
    made = store_calibration(memory, resolve(job(), settings()), rule)
    assert (made.rule.text, made.run_info(FREE).bill_rule) == (rule, name)


def test_a_calibrated_rule_is_low_and_high(memory):
    """Nothing is left between what it may be billed at least and at most."""
    tariff = store_calibration(memory, resolve(job(), settings()), FITTED).tariff(FREE, PriorStats())
    assert (tariff.calibrated, tariff.low_tokens(STEP), tariff.high_tokens(STEP)) == (True, 6800, 6800)


def test_a_rule_that_explains_little_is_not_the_worst_case(memory):
    """What a budget holds for a picture stays the dearest of all rules."""
    tariff = store_calibration(memory, resolve(job(), settings()), explains=False).tariff(FREE, PriorStats())
    assert (tariff.calibrated, tariff.rule.name, tariff.high_tokens(STEP)) == (False, "formula", 6404)


def test_a_rule_that_is_given_wins_over_the_calibration(memory):
    """It is believed for the low estimate, and not for the worst case, as it was not measured."""
    tariff = store_calibration(memory, resolve(job(bill="qwen3"), settings())).tariff(FREE, PriorStats())
    assert (tariff.rule.name, tariff.calibrated, tariff.trusted) == ("qwen3", False, True)
    assert tariff.high_tokens(STEP) == 6404


def test_the_rule_that_is_given_and_was_measured_is_calibrated(memory):
    """Who names the rule that the probes have shown loses nothing."""
    tariff = store_calibration(memory, resolve(job(bill="formula"), settings())).tariff(FREE, PriorStats())
    assert (tariff.calibrated, tariff.high_tokens(STEP)) == (True, 1601)


def test_the_text_goes_by_the_bytes_of_the_probes(memory):
    """Until the prompt itself was measured, which is worth more."""
    made = store_calibration(memory, resolve(job(), settings()))
    assert made.tariff(FREE, PriorStats()).text_tokens == round(made.schema.prompt_bytes * 0.3)
    assert made.tariff(FREE, PriorStats(text_tokens=777)).text_tokens == 777


@pytest.mark.parametrize("other", [{"model": "c/d"}, {"base_url": "http://elsewhere/v1"}, {"offline": True}])
def test_a_calibration_is_of_one_model_at_one_address(memory, other):
    store_calibration(memory, resolve(job(), settings()))
    assert resolve(job(**other), settings()).with_calibration(memory).calibration is None


@pytest.mark.parametrize(("offline", "passed"), [(False, True), (True, False)])
def test_local_ocr_is_passed_no_urls(offline, passed):
    """It reads bytes only: images are fetched for it, and videos are none of its."""
    made = resolve(job(send_urls=True, offline=offline), settings(dedicated=True))
    assert (made.passes_urls, made.takes_videos) == (passed, passed)


def test_urls_and_videos_are_passed_on_only_where_that_is_said():
    """By the job and by the settings."""
    made = resolve(job(), settings())
    assert (made.passes_urls, made.takes_videos) == (False, False)
