"""The command `doctor` where a Prefect API is configured: it checks what runs need of that server."""

import pytest

pytestmark = pytest.mark.slow  # each is a process that imports Prefect
RATE = "tilewise-127.0.0.1-8399-maker-model"
BASE = {"TILEWISE_BASE_URL": "http://127.0.0.1:8399/v1", "TILEWISE_RPM": "2400"}


@pytest.fixture
def findings(workspace):
    """Runs `doctor` in its own process, in which Prefect reads its settings; returns the printed lines by name."""

    def run_doctor(**env):
        result = workspace.tilewise("doctor", env=env)
        _, *lines = result.stdout.partition("\n\n")[0].splitlines()
        names = ("key block", "bill rule", "key", "model", "price", "output", "ledger", "prefect", "rate", "endpoint")
        return {next(name for name in names if line[7:].startswith(name)): line for line in lines}

    return run_doctor


def test_doctor_fails_for_an_unreachable_prefect_server(findings):
    """The other checks still run."""
    output = findings(PREFECT_API_URL="http://127.0.0.1:9/api")
    assert output["prefect"].startswith("fails")
    assert "PREFECT_API_URL=http://127.0.0.1:9/api does not answer" in output["prefect"].replace("'", "")
    assert output["output"].startswith("ok")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "requires a login (HTTP 401): set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY"),
        ({"PREFECT_API_AUTH_STRING": "me:wrong"}, "refuses PREFECT_API_AUTH_STRING (HTTP 401)"),
        ({"PREFECT_API_KEY": "wrong"}, "refuses PREFECT_API_KEY (HTTP 401)"),
    ],
)
def test_doctor_names_a_refused_prefect_login(findings, serve, replies, env, message):
    """The server answers health checks without a login, and nothing else."""
    server = serve(replies.error(401))
    server.listed = lambda path: replies.raw("true") if path.endswith("/health") else replies.error(401)
    output = findings(PREFECT_API_URL=f"http://127.0.0.1:{server.server_port}/api", **env)["prefect"]
    assert output.startswith("fails")
    assert message in output
    assert "wrong" not in output


def test_doctor_notes_a_missing_rate_limit(findings, prefect_like):
    """The note has the command that creates the limit of this endpoint and model at this rate."""
    output = findings(PREFECT_API_URL=prefect_like(), **BASE)
    assert output["prefect"].startswith("ok")
    assert output["rate"].startswith("note")
    assert f"`prefect gcl create {RATE} --limit 40 --slot-decay-per-second 40`" in output["rate"]


def test_doctor_reports_a_shared_rate_limit(findings, prefect_like):
    """It finds the limit by the name that runs use."""
    url = prefect_like(
        concurrency_limits=lambda name: {"name": name, "limit": 40, "active_slots": 0, "slot_decay_per_second": 40.0}
    )
    rate = findings(PREFECT_API_URL=url, **BASE)["rate"]
    assert rate.startswith("ok")
    assert f"2400 calls per minute through the rate limit {RATE}" in rate


def test_doctor_tries_the_key_of_the_prefect_block(workspace, findings, prefect_like, secret_block, serve, replies):
    """It prints where the key comes from, and never the key."""
    server = serve(replies.ok())
    server.listed = replies.raw('[{"id":"maker/model"}]')
    url = prefect_like(name=secret_block("sk-hidden"))
    output = findings(PREFECT_API_URL=url, TILEWISE_API_KEY=None, TILEWISE_BASE_URL=server.url)
    assert output["key"].startswith("ok")
    assert "accepted by" in output["key"]
    assert "from the Prefect Secret block `tilewise-api-key`" in output["key"]
    assert "sk-hidden" not in str(output)


def test_doctor_fails_without_a_key(findings, prefect_like):
    """The message names the environment variable and the Prefect block."""
    key = findings(PREFECT_API_URL=prefect_like(), TILEWISE_API_KEY=None)["key"]
    assert key.startswith("fails")
    assert "set TOGETHER_API_KEY" in key
    assert "the Prefect Secret block `tilewise-api-key` does not exist" in key


def test_doctor_fails_for_a_block_of_json(findings, prefect_like, secret_block):
    """It prints the message of a run, and no value of the block."""
    block = findings(PREFECT_API_URL=prefect_like(name=secret_block({"key": "sk-hidden"})), TILEWISE_API_KEY=None)
    assert block["key block"].startswith("fails")
    assert "holds JSON: save only the key in it, as text" in block["key block"]
    assert "sk-hidden" not in str(block)
