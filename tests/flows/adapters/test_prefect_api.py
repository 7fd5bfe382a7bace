"""Which Prefect API is configured, read from the same places as Prefect does."""

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
PRINT_URL = "from prefect.settings import get_current_settings; print(get_current_settings().api.url)"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory, and an empty home of Prefect."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_find_prefect_url_is_none_without_configuration(folder):
    assert find_prefect_url() is None


@pytest.mark.parametrize("weaker", range(len(FILES)))
def test_find_prefect_url_prefers_the_stronger_place(folder, weaker):
    """The order is .env, prefect.toml, pyproject.toml, profile."""
    for name in list(FILES)[weaker:]:
        (folder / name).write_text(FILES[name])
    assert (
        find_prefect_url()
        == ["http://dotenv/api", "http://toml/api", "http://pyproject/api", "http://profile/api"][weaker]
    )


def test_find_prefect_url_prefers_the_environment(folder, monkeypatch):
    (folder / ".env").write_text(FILES[".env"])
    monkeypatch.setenv("PREFECT_API_URL", "http://environment/api")
    assert find_prefect_url() == "http://environment/api"


def test_find_prefect_url_reads_the_profile_of_the_environment(folder, monkeypatch):
    """PREFECT_PROFILE wins over the active profile of the file."""
    (folder / "home" / "profiles.toml").write_text(
        FILES["home/profiles.toml"] + '[profiles.other]\nPREFECT_API_URL = "http://other/api"\n'
    )
    monkeypatch.setenv("PREFECT_PROFILE", "other")
    assert find_prefect_url() == "http://other/api"


@pytest.mark.parametrize("text", ["active = 5\n", "profiles = 5\n", "[", 'active = "own"\n'])
def test_find_prefect_url_is_none_for_an_unusable_profile(folder, text):
    (folder / "home" / "profiles.toml").write_text(text)
    assert find_prefect_url() is None


@pytest.mark.parametrize("name", ["prefect.toml", "pyproject.toml"])
def test_find_prefect_url_names_an_unreadable_file(folder, name):
    (folder / name).write_text("[api\n")
    with pytest.raises(ConfigurationError, match=f"^{name} cannot be read"):
        find_prefect_url()


@pytest.mark.slow
@pytest.mark.parametrize("weaker", range(len(FILES)))
def test_prefect_finds_the_same_url(folder, weaker):
    """Prefect itself gives the places the same order."""
    for name in list(FILES)[weaker:]:
        (folder / name).write_text(FILES[name])
    process = subprocess.run([sys.executable, "-c", PRINT_URL], capture_output=True, text=True, check=True, timeout=60)
    assert process.stdout.strip() == find_prefect_url()


def test_check_reachable_refuses_an_address_where_nothing_listens():
    """The message names the setting, its value and the hint."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/api"
        with pytest.raises(ConfigurationError, match=rf"^PREFECT_API_URL='{url}' does not answer .*, or use --direct$"):
            check_reachable(url, ", or use --direct")


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_check_reachable_accepts_any_answer(server, replies, status):
    """After a login page, another API or a server error, Prefect's client reports what is wrong."""
    server.listed = replies.raw("{}", status)
    check_reachable(server.url)


def test_serve_and_run_refuse_an_unreachable_prefect_server(workspace):
    """Each prints one line that names the setting, exits with code 2 and starts no Prefect server."""
    workspace.with_images("a.jpg")
    url = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    for command in (["serve"], ["run", "in", "--schema", "caption", "--prefect"]):
        result = workspace.run(*command, env=url)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "PREFECT_API_URL='http://127.0.0.1:9/api' does not answer" in result.stderr
    assert not list(workspace.folder.rglob("prefect.db"))
