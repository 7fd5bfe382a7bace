"""The command `doctor` where Prefect is configured: what its server has of what runs need."""

import pytest

pytestmark = pytest.mark.slow  # each is a process that imports Prefect
RATE = "tilewise-127.0.0.1-8399-maker-model"
BASE = {"TILEWISE_BASE_URL": "http://127.0.0.1:8399/v1", "TILEWISE_RPM": "2400"}


@pytest.fixture
def findings(workspace):
    """Runs the doctor in a process of its own, in which Prefect reads its settings; gives all lines by their names."""

    def found(**env):
        ended = workspace.tilewise("doctor", env=env)
        _, *lines = ended.stdout.partition("\n\n")[0].splitlines()
        names = ("key block", "bill rule", "key", "model", "price", "output", "ledger", "prefect", "rate", "endpoint")
        return {next(name for name in names if line[7:].startswith(name)): line for line in lines}

    return found


def test_a_server_that_is_not_there_fails(findings):
    """The rest is looked at all the same."""
    found = findings(PREFECT_API_URL="http://127.0.0.1:9/api")
    assert found["prefect"].startswith("fails")
    assert "PREFECT_API_URL=http://127.0.0.1:9/api does not answer" in found["prefect"].replace("'", "")
    assert found["output"].startswith("ok")


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({}, "requires a login (HTTP 401): set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY"),
        ({"PREFECT_API_AUTH_STRING": "me:wrong"}, "refuses PREFECT_API_AUTH_STRING (HTTP 401)"),
        ({"PREFECT_API_KEY": "wrong"}, "refuses PREFECT_API_KEY (HTTP 401)"),
    ],
)
def test_a_login_that_is_refused_is_named(findings, serve, replies, env, said):
    """A server tells whoever asks that it is healthy, and nothing else without a login."""
    server = serve(replies.error(401))
    server.listed = lambda path: replies.raw("true") if path.endswith("/health") else replies.error(401)
    found = findings(PREFECT_API_URL=f"http://127.0.0.1:{server.server_port}/api", **env)["prefect"]
    assert found.startswith("fails")
    assert said in found
    assert "wrong" not in found


def test_a_rate_that_no_limit_holds_for_all_is_a_note_with_the_command(findings, prefect_like):
    """Of this endpoint and model, at this rate."""
    found = findings(PREFECT_API_URL=prefect_like(), **BASE)
    assert found["prefect"].startswith("ok")
    assert found["rate"].startswith("note")
    assert f"`prefect gcl create {RATE} --limit 40 --slot-decay-per-second 40`" in found["rate"]


def test_a_rate_that_is_shared_is_said(findings, prefect_like):
    """By the limit that runs look for."""
    url = prefect_like(
        concurrency_limits=lambda name: {"name": name, "limit": 40, "active_slots": 0, "slot_decay_per_second": 40.0}
    )
    rate = findings(PREFECT_API_URL=url, **BASE)["rate"]
    assert rate.startswith("ok")
    assert f"2400 calls per minute through the rate limit {RATE}" in rate


def test_a_key_that_flow_runs_find_in_prefect_is_tried(workspace, findings, prefect_like, secret_block, serve, replies):
    """It is said where it is, and never what it is."""
    server = serve(replies.ok())
    server.listed = replies.raw('[{"id":"maker/model"}]')
    url = prefect_like(name=secret_block("sk-hidden"))
    found = findings(PREFECT_API_URL=url, TILEWISE_API_KEY=None, TILEWISE_BASE_URL=server.url)
    assert found["key"].startswith("ok")
    assert "accepted by" in found["key"]
    assert "from the Prefect Secret block `tilewise-api-key`" in found["key"]
    assert "sk-hidden" not in str(found)


def test_a_key_that_is_nowhere_is_missed_in_prefect_too(findings, prefect_like):
    """Both places are named."""
    key = findings(PREFECT_API_URL=prefect_like(), TILEWISE_API_KEY=None)["key"]
    assert key.startswith("fails")
    assert "set TOGETHER_API_KEY" in key
    assert "the Prefect Secret block `tilewise-api-key` does not exist" in key


def test_a_block_that_is_no_key_fails(findings, prefect_like, secret_block):
    """In the words of a run."""
    block = findings(PREFECT_API_URL=prefect_like(name=secret_block({"key": "sk-hidden"})), TILEWISE_API_KEY=None)
    assert block["key block"].startswith("fails")
    assert "holds JSON: save only the key in it, as text" in block["key block"]
    assert "sk-hidden" not in str(block)
