"""`.env`: read where there is one; what it sets is weaker than the environment."""

import pytest

from extractors.config.dotenv_file import read_dotenv
from extractors.config.settings import read_settings
from extractors.core.errors import ConfigurationError


def test_read_dotenv_without_a_file(tmp_path, monkeypatch):
    """A folder without the file sets nothing."""
    monkeypatch.chdir(tmp_path)
    assert read_dotenv() == {}


def test_read_dotenv_of_bytes_that_are_no_text(tmp_path, monkeypatch):
    """A file that is not UTF-8 is an error that names it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"TILEWISE_MODE=\xff")
    with pytest.raises(ConfigurationError, match=r"^\.env cannot be read"):
        read_dotenv()


def test_a_key_of_the_environment_wins_over_the_other_name_in_dotenv(tmp_path, monkeypatch):
    """The place counts before the name: the key has two names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TILEWISE_API_KEY", raising=False)
    monkeypatch.setenv("TOGETHER_API_KEY", "of the environment")
    (tmp_path / ".env").write_text("TILEWISE_API_KEY=of the file\n")
    assert read_settings().api_key.get_secret_value() == "of the environment"
