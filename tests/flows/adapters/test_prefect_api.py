"""adapters/prefect_api.py: which Prefect API is configured, as Prefect itself reads it."""

import os
import socket
import subprocess
import sys

import pytest

from extractors.core.errors import ConfigurationError
from flows.adapters.prefect_api import check_reachable, find_prefect_url

FILES = {
    ".env": "PREFECT_API_URL=http://dotenv/api\n",
    "prefect.toml": '[api]\nurl = "http://toml/api"\n',
    "pyproject.toml": '[tool.prefect.api]\nurl = "http://pyproject/api"\n',
    "home/profiles.toml": 'active = "own"\n[profiles.own]\nPREFECT_API_URL = "http://profile/api"\n',
}
PREFECTS = "from prefect.settings import get_current_settings; print(get_current_settings().api.url)"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory and a home of Prefect's with nothing in them."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_is_configured_where_nothing_says_so(folder):
    assert find_prefect_url() is None


@pytest.mark.parametrize("weaker", range(len(FILES)))
def test_the_stronger_place_wins(folder, weaker):
    """.env before prefect.toml before pyproject.toml before the profile."""
    for name in list(FILES)[weaker:]:
        (folder / name).write_text(FILES[name])
    assert (
        find_prefect_url()
        == ["http://dotenv/api", "http://toml/api", "http://pyproject/api", "http://profile/api"][weaker]
    )


def test_the_environment_wins_over_every_file(folder, monkeypatch):
    (folder / ".env").write_text(FILES[".env"])
    monkeypatch.setenv("PREFECT_API_URL", "http://environment/api")
    assert find_prefect_url() == "http://environment/api"


def test_another_profile_may_be_named(folder, monkeypatch):
    """By the environment; the file's own choice is the default."""
    (folder / "home" / "profiles.toml").write_text(
        FILES["home/profiles.toml"] + '[profiles.other]\nPREFECT_API_URL = "http://other/api"\n'
    )
    monkeypatch.setenv("PREFECT_PROFILE", "other")
    assert find_prefect_url() == "http://other/api"


@pytest.mark.parametrize("text", ["active = 5\n", "profiles = 5\n", "[", 'active = "own"\n'])
def test_a_profile_that_says_nothing_is_none(folder, text):
    (folder / "home" / "profiles.toml").write_text(text)
    assert find_prefect_url() is None


@pytest.mark.parametrize("name", ["prefect.toml", "pyproject.toml"])
def test_a_file_that_prefect_cannot_read_is_named(folder, name):
    (folder / name).write_text("[api\n")
    with pytest.raises(ConfigurationError, match=f"^{name} cannot be read"):
        find_prefect_url()


@pytest.mark.slow
@pytest.mark.parametrize("weaker", range(len(FILES)))
def test_prefect_reads_the_same(folder, weaker):
    """The order is Prefect's, as long as this test says so."""
    for name in list(FILES)[weaker:]:
        (folder / name).write_text(FILES[name])
    done = subprocess.run([sys.executable, "-c", PREFECTS], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == find_prefect_url()


def test_check_reachable_refuses_an_address_where_nothing_listens():
    """It names the setting, its value and the hint."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/api"
        with pytest.raises(ConfigurationError, match=rf"^PREFECT_API_URL='{url}' does not answer .*, or use --direct$"):
            check_reachable(url, ", or use --direct")


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_check_reachable_accepts_any_answer(server, replies, status):
    """A login, another API or a broken server: Prefect's client says what is wrong."""
    server.listed = replies.raw("{}", status)
    check_reachable(server.url)


def test_serve_and_run_do_not_start_for_a_server_that_does_not_answer(workspace):
    """One line that names the setting, exit code 2, and no folder of a Prefect server."""
    workspace.with_images("a.jpg")
    url = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    for command in (["serve"], ["run", "in", "--schema", "caption", "--prefect"]):
        ended = workspace.run(*command, env=url)
        assert (ended.exit_code, ended.stderr.count("\n")) == (2, 1)
        assert "PREFECT_API_URL='http://127.0.0.1:9/api' does not answer" in ended.stderr
    assert not list(workspace.folder.rglob("prefect.db"))
