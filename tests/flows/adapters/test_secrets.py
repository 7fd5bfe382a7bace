"""adapters/secrets.py: the key of a flow run, from its environment or from a Prefect Secret block."""

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from extractors.config.job import build_job
from extractors.config.run_config import resolve
from extractors.core.errors import ConfigurationError
from flows.adapters.secrets import load_flow_settings, read_block_key

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def keyless(tmp_path, monkeypatch):
    """An environment without a key, and a working directory without settings."""
    monkeypatch.delenv("TILEWISE_API_KEY", raising=False)
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def prefect(prefect_like):
    """Prefect's clients in this process go to a server with these things."""

    def at(url=None, **things):
        return temporary_settings({PREFECT_API_URL: url or prefect_like(**things)})

    return at


@pytest.mark.parametrize("key", ["sk-hidden", "12345678901234567890", "1e400"])
async def test_a_key_in_the_block_is_used_as_it_is(prefect, secret_block, key):
    """Whatever it looks like."""
    with prefect(name=secret_block(key)):
        assert (await load_flow_settings()).api_key == SecretStr(key)


@pytest.mark.parametrize("value", [{"key": "sk-hidden"}, ["sk-hidden"], 5, '{"key": "sk-hidden"}'])
async def test_a_block_of_json_is_refused_by_name(prefect, secret_block, value):
    """Without a word of what is in it."""
    with prefect(name=secret_block(value)), pytest.raises(ConfigurationError) as raised:
        await load_flow_settings()
    assert (
        str(raised.value) == "the Prefect Secret block `tilewise-api-key` holds JSON: save only the key in it, as text"
    )


async def test_without_a_block_a_run_says_both_places(prefect):
    """As a flow run alone does: the command reads no block."""
    with prefect(), pytest.raises(ConfigurationError) as raised:
        resolve(build_job(source="in", schema_name="caption"), await load_flow_settings())
    assert str(raised.value) == (
        "no key: set TOGETHER_API_KEY or the Prefect Secret block `tilewise-api-key`, or add --offline to try it with"
        " local OCR"
    )


async def test_a_server_that_is_not_there_is_one_line(prefect):
    """Of a run that needs a key: it says why there is none, and what to do."""
    with prefect("http://127.0.0.1:9/api"), pytest.raises(ConfigurationError) as raised:
        resolve(build_job(source="in", schema_name="caption"), await load_flow_settings())
    assert str(raised.value) == (
        "no key: set TOGETHER_API_KEY or the Prefect Secret block `tilewise-api-key` (cannot be read: the Prefect server"
        " does not answer: ConnectError), or add --offline to try it with local OCR"
    )


async def test_a_run_that_needs_no_key_does_not_miss_the_block(prefect):
    """Local OCR, and a server of one's own."""
    with prefect("http://127.0.0.1:9/api"):
        settings = await load_flow_settings()
    own = build_job(source="in", schema_name="caption", base_url="http://127.0.0.1:9/v1", model="m")
    assert resolve(own, settings).model == "m"
    assert resolve(build_job(source="in", schema_name="caption", offline=True), settings).offline


async def test_what_is_no_block_is_one_line(prefect):
    with (
        prefect(name=lambda name: {"name": name}),
        pytest.raises(ConfigurationError, match="did not return a valid Prefect response"),
    ):
        await read_block_key()
