"""`.env`: it is optional, and the environment takes precedence over it."""

import pytest

from extractors.config.dotenv_file import read_dotenv
from extractors.config.settings import read_settings
from extractors.core.errors import ConfigurationError


def test_read_dotenv_without_a_file_sets_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_dotenv() == {}


def test_read_dotenv_refuses_bytes_that_are_not_utf8(tmp_path, monkeypatch):
    """The error names the file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"TILEWISE_MODE=\xff")
    with pytest.raises(ConfigurationError, match=r"^\.env cannot be read"):
        read_dotenv()


def test_environment_key_wins_over_the_other_key_name_in_dotenv(tmp_path, monkeypatch):
    """The source takes precedence over the name: the key has two names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TILEWISE_API_KEY", raising=False)
    monkeypatch.setenv("TOGETHER_API_KEY", "of the environment")
    (tmp_path / ".env").write_text("TILEWISE_API_KEY=of the file\n")
    assert read_settings().api_key.get_secret_value() == "of the environment"
