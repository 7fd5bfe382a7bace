"""The command `doctor`: every setting with its origin, and a line for each requirement of a run, at no cost."""

import re

import pytest

from extractors.config.doctor import check_fonts
from extractors.config.settings import PREFIX, Settings

NAMES = ["key", "model", "price", "bill rule", "source", "output", "ledger", "prefect"]
OPTIONAL_NAMES = ["endpoint", "key block", "rate"]


@pytest.fixture(autouse=True)
def working_setup(workspace, server, replies):
    """One image, and a server that lists the model with its price."""
    models = b'[{"id":"maker/model","pricing":{"input":0.3,"output":1.5}},{"id":"maker/model-large"}]'
    server.listed = replies.raw(models)
    workspace.with_images("a.jpg").using(server)


def read_findings(result):
    """The line of each finding, by its name."""
    _, *lines = result.stdout.partition("\n\n")[0].splitlines()
    return {next(name for name in [*OPTIONAL_NAMES, *NAMES] if line[7:].startswith(name)): line for line in lines}


def read_verdicts(result):
    """The verdict of each finding, by its name."""
    return {name: line.split()[0] for name, line in read_findings(result).items()}


def test_doctor_exits_0_when_all_checks_pass(workspace, server):
    """Each check prints one line, and no chat request is sent."""
    result = workspace.run("doctor", "in")
    assert (result.exit_code, server.asked) == (0, []), result.stdout
    assert list(read_verdicts(result)) == NAMES
    assert set(read_verdicts(result).values()) == {"ok", "note"}
    assert read_verdicts(result)["bill rule"] == "note"  # nothing was calibrated
    assert result.stdout.startswith("ready: a run can start; note: bill rule\n")


def test_doctor_leaves_no_file(workspace):
    before = workspace.files()
    workspace.run("doctor", "in")
    assert workspace.files() == before


def test_doctor_ignores_remains_of_an_interrupted_doctor(workspace):
    """Its trial file has a unique name."""
    (workspace.folder / "out" / "staging" / "doctor").mkdir(parents=True)
    assert read_verdicts(workspace.run("doctor"))["output"] == "ok"


def test_doctor_shows_every_setting_with_its_origin(workspace):
    """The order is environment, .env, tilewise.toml, default; the key is masked."""
    (workspace.folder / ".env").write_text("TILEWISE_DRAIN=7\nTILEWISE_MODE=prompt\n")
    (workspace.folder / "tilewise.toml").write_text("drain = 8\nchunk = 9\n")
    result = workspace.run("doctor", env={"TILEWISE_MODE": "tools"})
    settings = dict(line.split(" = ", 1) for line in result.stdout.partition("\n\n")[2].splitlines())
    assert set(settings) == {PREFIX + name.upper() for name in Settings.model_fields}
    assert settings["TILEWISE_MODE"] == "tools  (environment)"
    assert settings["TILEWISE_DRAIN"] == "7.0  (.env)"
    assert settings["TILEWISE_CHUNK"] == "9  (tilewise.toml)"
    assert settings["TILEWISE_VOLUME"] == "50000  (default)"
    assert settings["TILEWISE_API_KEY"] == "**********  (environment)"
    assert "sk-test" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("env", "name", "message"),
    [
        ({"TILEWISE_API_KEY": None, "TILEWISE_BASE_URL": None}, "key", "set TOGETHER_API_KEY"),
        ({"TILEWISE_MODEL": "model-large"}, "model", "similar ids: maker/model-large"),
        ({"TILEWISE_MODEL": None}, "model", "set TILEWISE_MODEL"),
        ({"TILEWISE_MODEL": "a/b", "TILEWISE_PRICES": None}, "price", "unknown for a/b"),
        ({"TILEWISE_PRICES": "/nowhere.toml"}, "price", "TILEWISE_PRICES='/nowhere.toml' cannot be read: No such file"),
        ({"TILEWISE_OUTPUT": "/proc/out"}, "output", "correct TILEWISE_OUTPUT"),
        ({"TILEWISE_LEDGER": "sqlite:////proc/nope/ledger.db"}, "ledger", "correct TILEWISE_LEDGER"),
        ({"TILEWISE_LEDGER": "sqlite:////tmp"}, "ledger", "'/tmp' is not a file: correct TILEWISE_LEDGER"),
        ({"TILEWISE_BASE_URL": "http://127.0.0.1:9/v1"}, "endpoint", "does not answer"),
    ],
)
def test_doctor_fails_and_says_what_to_correct(workspace, env, name, message):
    """The exit code is 2, and the other checks still run."""
    result = workspace.run("doctor", "in", env=env)
    assert result.exit_code == 2
    assert read_verdicts(result)[name] == "fails"
    assert re.match(rf"not ready: .*\b{name}\b", result.stdout)
    assert message in read_findings(result)[name]
    assert read_verdicts(result)["source"] == "ok"


def test_doctor_distinguishes_a_refused_key_from_a_missing_model_list(workspace, server, replies):
    """Status 401 fails; status 404 is a note, as a server may have no list."""
    server.listed = replies.error(401)
    assert read_verdicts(workspace.run("doctor"))["key"] == "fails"
    server.listed = replies.error(404)
    result = workspace.run("doctor")
    assert (read_verdicts(result)["key"], read_verdicts(result)["model"], result.exit_code) == ("note", "note", 0)


def test_doctor_fails_for_a_source_that_does_not_exist(workspace):
    """It prints the message of a run."""
    result = workspace.run("doctor", "nowhere")
    assert (result.exit_code, read_verdicts(result)["source"]) == (2, "fails")
    assert "'nowhere' does not exist" in read_findings(result)["source"]


def test_check_fonts_notes_missing_fonts(workspace, tmp_path):
    """The note names a package, one font file is enough, and a source without PDFs needs none."""
    assert "fonts" not in read_verdicts(workspace.run("doctor", "in"))
    folder = tmp_path / "fonts"
    folder.mkdir()
    finding = check_fonts([folder, tmp_path / "nowhere"])
    assert finding.verdict == "note"
    assert "fonts-dejavu" in finding.words
    (folder / "a").mkdir()
    (folder / "a" / "b.ttf").touch()
    assert check_fonts([folder, tmp_path / "nowhere"]) is None


def test_doctor_fails_for_a_damaged_ledger(workspace):
    (workspace.folder / "ledger.db").write_bytes(b"no database at all" * 100)
    result = workspace.run("doctor")
    assert (result.exit_code, read_verdicts(result)["ledger"]) == (2, "fails")


def test_doctor_shows_the_date_of_a_calibrated_rule(workspace, server, replies):
    server.script = replies.billing(lambda size: 1601)
    assert workspace.run("calibrate", "--yes").exit_code == 0
    assert "calibrated on 20" in read_findings(workspace.run("doctor"))["bill rule"]


def test_doctor_needs_no_key_offline(workspace):
    """The finding of the endpoint names local OCR."""
    result = workspace.run(
        "doctor", env={"TILEWISE_BASE_URL": "offline", "TILEWISE_API_KEY": None, "TILEWISE_MODEL": None}
    )
    assert result.exit_code == 0
    assert "local OCR" in read_findings(result)["endpoint"]
