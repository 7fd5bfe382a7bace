"""flows/configured.py: which Prefect API is configured, as Prefect itself reads it."""

import os
import subprocess
import sys

import pytest

from extractors.core.errors import ConfigurationError
from flows.adapters.prefect_api import find_prefect_url

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
