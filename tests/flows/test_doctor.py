"""The command `doctor`: every setting and its origin, a line for each thing that a run needs, and nothing is spent."""

import re

import pytest

from extractors.config.doctor import check_fonts
from extractors.config.settings import PREFIX, Settings

NAMES = ["key", "model", "price", "bill rule", "source", "output", "ledger", "prefect"]
MORE = ["endpoint", "key block", "rate"]


@pytest.fixture(autouse=True)
def all_in_order(workspace, server, replies):
    """One image, and a server that lists the model with its price."""
    listed = b'[{"id":"maker/model","pricing":{"input":0.3,"output":1.5}},{"id":"maker/model-large"}]'
    server.listed = replies.raw(listed)
    workspace.with_images("a.jpg").using(server)


def findings(ended):
    """The verdict and the words of each finding, by its name."""
    _, *lines = ended.stdout.partition("\n\n")[0].splitlines()
    return {next(name for name in [*MORE, *NAMES] if line[7:].startswith(name)): line for line in lines}


def verdicts(ended):
    """The verdicts alone."""
    return {name: line.split()[0] for name, line in findings(ended).items()}


def test_where_all_is_in_order_every_line_says_so(workspace, server):
    """A line each, exit 0, and no chat was begun."""
    ended = workspace.run("doctor", "in")
    assert (ended.exit_code, server.asked) == (0, []), ended.stdout
    assert list(verdicts(ended)) == NAMES
    assert set(verdicts(ended).values()) == {"ok", "note"}
    assert verdicts(ended)["bill rule"] == "note"  # nothing was calibrated
    assert ended.stdout.startswith("ready: a run can start; note: bill rule\n")


def test_nothing_is_left_behind(workspace):
    """What was tried is taken away."""
    before = workspace.files()
    workspace.run("doctor", "in")
    assert workspace.files() == before


def test_what_an_interrupted_doctor_left_behind_is_no_hindrance(workspace):
    """It tries under a name that nobody has."""
    (workspace.folder / "out" / "staging" / "doctor").mkdir(parents=True)
    assert verdicts(workspace.run("doctor"))["output"] == "ok"


def test_every_setting_is_shown_with_its_origin(workspace):
    """The environment before .env before tilewise.toml before the default; the key is masked."""
    (workspace.folder / ".env").write_text("TILEWISE_DRAIN=7\nTILEWISE_MODE=prompt\n")
    (workspace.folder / "tilewise.toml").write_text("drain = 8\nchunk = 9\n")
    ended = workspace.run("doctor", env={"TILEWISE_MODE": "tools"})
    shown = dict(line.split(" = ", 1) for line in ended.stdout.partition("\n\n")[2].splitlines())
    assert set(shown) == {PREFIX + name.upper() for name in Settings.model_fields}
    assert shown["TILEWISE_MODE"] == "tools  (environment)"
    assert shown["TILEWISE_DRAIN"] == "7.0  (.env)"
    assert shown["TILEWISE_CHUNK"] == "9  (tilewise.toml)"
    assert shown["TILEWISE_VOLUME"] == "50000  (default)"
    assert shown["TILEWISE_API_KEY"] == "**********  (environment)"
    assert "sk-test" not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("env", "name", "said"),
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
def test_what_is_wrong_fails_and_says_what_to_do(workspace, env, name, said):
    """Exit 2; the rest is looked at all the same."""
    ended = workspace.run("doctor", "in", env=env)
    assert ended.exit_code == 2
    assert verdicts(ended)[name] == "fails"
    assert re.match(rf"not ready: .*\b{name}\b", ended.stdout)
    assert said in findings(ended)[name]
    assert verdicts(ended)["source"] == "ok"


def test_a_refused_key_is_told_from_a_server_that_lists_nothing(workspace, server, replies):
    """401 fails; 404 may be a server that has no such list."""
    server.listed = replies.error(401)
    assert verdicts(workspace.run("doctor"))["key"] == "fails"
    server.listed = replies.error(404)
    ended = workspace.run("doctor")
    assert (verdicts(ended)["key"], verdicts(ended)["model"], ended.exit_code) == ("note", "note", 0)


def test_a_source_that_cannot_be_listed_fails(workspace):
    """In the words of a run."""
    ended = workspace.run("doctor", "nowhere")
    assert (ended.exit_code, verdicts(ended)["source"]) == (2, "fails")
    assert "'nowhere' does not exist" in findings(ended)["source"]


def test_fonts_are_noted_for_a_source_with_pdfs_where_none_is_installed(workspace, tmp_path):
    """Which package brings them is in the note; one font file is enough."""
    assert "fonts" not in verdicts(workspace.run("doctor", "in"))
    folder = tmp_path / "fonts"
    folder.mkdir()
    finding = check_fonts([folder, tmp_path / "nowhere"])
    assert finding.verdict == "note"
    assert "fonts-dejavu" in finding.words
    (folder / "a").mkdir()
    (folder / "a" / "b.ttf").touch()
    assert check_fonts([folder, tmp_path / "nowhere"]) is None


def test_a_damaged_ledger_fails(workspace):
    """It is set aside, and that is said."""
    (workspace.folder / "ledger.db").write_bytes(b"no database at all" * 100)
    ended = workspace.run("doctor")
    assert (ended.exit_code, verdicts(ended)["ledger"]) == (2, "fails")


def test_a_calibrated_rule_is_named(workspace, server, replies):
    """With the day of its measurement."""
    server.script = replies.billing(lambda size: 1601)
    assert workspace.run("calibrate", "--yes").exit_code == 0
    assert "calibrated on 20" in findings(workspace.run("doctor"))["bill rule"]


def test_offline_needs_no_key(workspace):
    """Local OCR is there, or it is said how it is installed."""
    ended = workspace.run(
        "doctor", env={"TILEWISE_BASE_URL": "offline", "TILEWISE_API_KEY": None, "TILEWISE_MODEL": None}
    )
    assert ended.exit_code == 0
    assert "local OCR" in findings(ended)["endpoint"]
