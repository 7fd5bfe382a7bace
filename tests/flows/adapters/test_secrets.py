"""The key of a flow run, from its environment or from a Prefect Secret block."""

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from extractors.config.job import build_job
from extractors.config.run_config import resolve
from extractors.core.errors import ConfigurationError
from flows.adapters.secrets import load_flow_settings, read_block_key

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_key(tmp_path, monkeypatch):
    """The environment has no key, and the working directory no settings."""
    monkeypatch.delenv("TILEWISE_API_KEY", raising=False)
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def prefect(prefect_like):
    """Points Prefect's clients in this process to a server with these objects."""

    def connect(url=None, **objects):
        return temporary_settings({PREFECT_API_URL: url or prefect_like(**objects)})

    return connect


@pytest.mark.parametrize("key", ["sk-hidden", "12345678901234567890", "1e400"])
async def test_key_of_the_block_is_used_unchanged(prefect, secret_block, key):
    """A key of digits stays text."""
    with prefect(name=secret_block(key)):
        assert (await load_flow_settings()).api_key == SecretStr(key)


@pytest.mark.parametrize("value", [{"key": "sk-hidden"}, ["sk-hidden"], 5, '{"key": "sk-hidden"}'])
async def test_block_of_json_is_refused(prefect, secret_block, value):
    """The message names the block and quotes none of its value."""
    with prefect(name=secret_block(value)), pytest.raises(ConfigurationError) as raised:
        await load_flow_settings()
    assert (
        str(raised.value) == "the Prefect Secret block `tilewise-api-key` holds JSON: save only the key in it, as text"
    )


async def test_missing_key_error_names_setting_and_block(prefect):
    """Only flow runs read a block; the command does not."""
    with prefect(), pytest.raises(ConfigurationError) as raised:
        resolve(build_job(source="in", schema_name="caption"), await load_flow_settings())
    assert str(raised.value) == (
        "no key: set TOGETHER_API_KEY or the Prefect Secret block `tilewise-api-key`, or add --offline to try it with"
        " local OCR"
    )


async def test_missing_key_error_names_an_unreachable_server(prefect):
    """The message says why the block cannot be read, and what to do."""
    with prefect("http://127.0.0.1:9/api"), pytest.raises(ConfigurationError) as raised:
        resolve(build_job(source="in", schema_name="caption"), await load_flow_settings())
    assert str(raised.value) == (
        "no key: set TOGETHER_API_KEY or the Prefect Secret block `tilewise-api-key` (cannot be read: the Prefect server"
        " does not answer: ConnectError), or add --offline to try it with local OCR"
    )


async def test_run_without_need_of_a_key_ignores_an_unreachable_server(prefect):
    """Local OCR and a server of the user's own need no key."""
    with prefect("http://127.0.0.1:9/api"):
        settings = await load_flow_settings()
    job = build_job(source="in", schema_name="caption", base_url="http://127.0.0.1:9/v1", model="m")
    assert resolve(job, settings).model == "m"
    assert resolve(build_job(source="in", schema_name="caption", offline=True), settings).offline


async def test_read_block_key_refuses_an_invalid_response(prefect):
    with (
        prefect(name=lambda name: {"name": name}),
        pytest.raises(ConfigurationError, match="did not return a valid Prefect response"),
    ):
        await read_block_key()
