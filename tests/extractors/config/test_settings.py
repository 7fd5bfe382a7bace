"""settings.py: the defaults, the precedence of sources, and each invalid value is refused with what is allowed."""

import os
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from extractors.config.settings import find_unknown_settings, read_settings
from extractors.core.errors import ConfigurationError

DEFAULTS = [
    ("base_url", None),
    ("api_key", None),
    ("model", None),
    ("profile", None),
    ("mode", "json_schema"),
    ("temperature", 0.0),
    ("reasoning", "off"),
    ("max_tokens", 2048),
    ("timeout", 120.0),
    ("attempts", 6),
    ("reasks", 1),
    ("concurrency", 64),
    ("chunk", 500),
    ("volume", 50_000),
    ("output", "data/out"),
    ("ask_above", Decimal(5)),
    ("prices", None),
    ("keep_replies", "all"),
    ("allow_hosts", ()),
    ("direct", False),
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working directory, and an environment without tilewise settings."""
    for name in [name for name in os.environ if name.upper().startswith(("TILEWISE_", "TOGETHER_API_KEY"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_refusal():
    """The message of the error that the current settings raise."""
    with pytest.raises(ConfigurationError) as raised:
        read_settings()
    return str(raised.value)


@pytest.mark.parametrize(("name", "default"), DEFAULTS)
def test_setting_has_its_documented_default(name, default):
    assert getattr(read_settings(), name) == default


def test_default_ledger_is_in_the_users_state_folder():
    """One ledger serves all outputs of a user."""
    assert read_settings().ledger.startswith("sqlite:///")
    assert read_settings().ledger.endswith("/tilewise/ledger.db")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("BASE_URL", "http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("BASE_URL", "https://host/v1", "https://host/v1"),
        ("BASE_URL", "offline", "offline"),
        ("MODEL", "a/b", "a/b"),
        ("PROFILE", "vllm", "vllm"),
        ("TEMPERATURE", "0.7", 0.7),
        ("REASONING", "on", "on"),
        ("MAX_TOKENS", "1", 1),
        ("TIMEOUT", "0.5", 0.5),
        ("REASKS", "0", 0),
        ("CONCURRENCY", "200", 200),
        ("OUTPUT", "elsewhere", "elsewhere"),
        ("LEDGER", "sqlite:///other.db", "sqlite:///other.db"),
        ("ASK_ABOVE", "0.10", Decimal("0.10")),
        ("PRICES", "prices.toml", Path("prices.toml")),
        ("KEEP_REPLIES", "failed", "failed"),
        ("ALLOW_HOSTS", "images.internal", ("images.internal",)),
        (
            "ALLOW_HOSTS",
            " A.internal, 10.0.0.5:8080 ,[fd00::5]:80,::1,",
            ("a.internal", "10.0.0.5:8080", "[fd00::5]:80", "::1"),
        ),
        ("ALLOW_HOSTS", "bücher.example", ("bücher.example",)),
        ("DIRECT", "1", True),
        ("DIRECT", "0", False),
    ],
)
def test_setting_is_read_from_the_environment(monkeypatch, name, text, value):
    monkeypatch.setenv(f"TILEWISE_{name}", text)
    assert getattr(read_settings(), name.lower()) == value


def test_environment_wins_over_both_files(folder, monkeypatch):
    monkeypatch.setenv("TILEWISE_MODEL", "environment")
    (folder / ".env").write_text("TILEWISE_MODEL=dotenv\n")
    (folder / "tilewise.toml").write_text('model = "toml"\n')
    assert read_settings().model == "environment"


def test_dotenv_wins_over_toml(folder):
    """Each file supplies the settings that the other omits."""
    (folder / ".env").write_text("TILEWISE_MODEL=dotenv\n")
    (folder / "tilewise.toml").write_text('model = "toml"\noutput = "toml"\n')
    assert (read_settings().model, read_settings().output) == ("dotenv", "toml")


def test_toml_wins_over_the_defaults(folder):
    """Its keys are in lower case and without the prefix."""
    (folder / "tilewise.toml").write_text('chunk = 10\nask_above = 1.5\nprices = "p.toml"\n')
    settings = read_settings()
    assert (settings.chunk, settings.ask_above, settings.prices) == (10, Decimal("1.5"), Path("p.toml"))


@pytest.mark.parametrize("value", ['"a.internal, b.internal"', '["a.internal", "b.internal"]'])
def test_allow_hosts_is_a_text_or_a_list_in_toml(folder, value):
    (folder / "tilewise.toml").write_text(f"allow_hosts = {value}\n")
    assert read_settings().allow_hosts == ("a.internal", "b.internal")


def test_allow_hosts_that_is_neither_text_nor_list_is_refused(folder):
    (folder / "tilewise.toml").write_text("allow_hosts = 5\n")
    assert read_refusal() == "TILEWISE_ALLOW_HOSTS=5: must be host names, separated by commas"


def test_toml_file_of_a_parent_folder_is_not_read(folder, monkeypatch):
    (folder / "tilewise.toml").write_text('model = "toml"\n')
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    assert read_settings().model is None


@pytest.mark.parametrize("name", ["TILEWISE_API_KEY", "TOGETHER_API_KEY"])
def test_key_has_two_names(monkeypatch, name):
    """A key set for other tools is used, too."""
    monkeypatch.setenv(name, "sesame")
    assert read_settings().api_key == SecretStr("sesame")


def test_tilewise_api_key_wins_over_together_api_key(monkeypatch):
    monkeypatch.setenv("TOGETHER_API_KEY", "general")
    monkeypatch.setenv("TILEWISE_API_KEY", "own")
    assert read_settings().api_key == SecretStr("own")


def test_key_is_read_from_dotenv(folder):
    (folder / ".env").write_text("TOGETHER_API_KEY=sesame\n")
    assert read_settings().api_key == SecretStr("sesame")


@pytest.mark.parametrize(
    "form", [repr, str, lambda settings: str(settings.model_dump()), lambda settings: f"{settings}"]
)
def test_text_of_the_settings_hides_the_key(monkeypatch, form):
    """Settings may be logged: a secret is masked whole, including its first letters."""
    monkeypatch.setenv("TILEWISE_API_KEY", "sesame")
    assert "sesame" not in form(read_settings())
    assert "ses" not in form(read_settings())


def test_settings_are_immutable(monkeypatch):
    with pytest.raises(ValueError, match="frozen"):
        read_settings().model = "other"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("BASE_URL", "host/v1", "must begin with http:// or https://, or be offline"),
        ("BASE_URL", "ftp://host", "must begin with http:// or https://, or be offline"),
        ("PROFILE", "bedrock", "'together', 'openai', 'azure', 'openrouter', 'vllm' or 'generic'"),
        ("MODE", "xml", "'json_schema'"),
        ("TEMPERATURE", "-0.1", "greater than or equal to 0"),
        ("TEMPERATURE", "2.1", "less than or equal to 2"),
        ("TEMPERATURE", "warm", "valid number"),
        ("TEMPERATURE", "nan", "less than or equal to 2"),
        ("REASONING", "maybe", "'off' or 'on'"),
        ("MAX_TOKENS", "0", "greater than or equal to 1"),
        ("MAX_TOKENS", "many", "valid integer"),
        ("TIMEOUT", "0", "greater than 0"),
        ("TIMEOUT", "-1", "greater than 0"),
        ("TIMEOUT", "nan", "finite number"),
        ("ATTEMPTS", "0", "greater than or equal to 1"),
        ("REASKS", "-1", "greater than or equal to 0"),
        ("CONCURRENCY", "0", "greater than or equal to 1"),
        ("CONCURRENCY", "1.5", "valid integer"),
        ("CHUNK", "0", "greater than or equal to 1"),
        ("VOLUME", "0", "greater than or equal to 1"),
        ("LEDGER", "ledger.db", "must be sqlite:///"),
        ("LEDGER", "mysql://host/db", "must be sqlite:///"),
        ("ASK_ABOVE", "-1", "greater than or equal to 0"),
        ("ASK_ABOVE", "nan", "finite number"),
        ("ASK_ABOVE", "inf", "finite number"),
        ("KEEP_REPLIES", "some", "'all', 'failed' or 'none'"),
        ("ALLOW_HOSTS", "a.internal,http://b.internal", "'http://b.internal' is not one"),
        ("ALLOW_HOSTS", "10.0.0.0/8", "'10.0.0.0/8' is not one"),
        ("ALLOW_HOSTS", "*", "without scheme, path, range or *"),
        ("ALLOW_HOSTS", "*.internal", "'*.internal' is not one"),
        ("ALLOW_HOSTS", "me@a.internal", "'me@a.internal' is not one"),
        ("ALLOW_HOSTS", "a.internal b.internal", "separated by commas"),
        ("ALLOW_HOSTS", "a.internal:0", "'a.internal:0' is not one"),
        ("ALLOW_HOSTS", "a.internal:65536", "'a.internal:65536' is not one"),
        ("ALLOW_HOSTS", "[a.internal]", "'[a.internal]' is not one"),
        ("ALLOW_HOSTS", "fd00::5::1", "'fd00::5::1' is not one"),
        ("DIRECT", "perhaps", "valid boolean"),
    ],
)
def test_invalid_value_is_refused(monkeypatch, name, value, allowed):
    """The message names the setting, its value and what is allowed."""
    monkeypatch.setenv(f"TILEWISE_{name}", value)
    message = read_refusal()
    assert message.startswith(f"TILEWISE_{name}={value!r}: ")
    assert allowed in message


def test_all_invalid_values_are_named_in_one_line(monkeypatch):
    monkeypatch.setenv("TILEWISE_CHUNK", "x")
    monkeypatch.setenv("TILEWISE_TIMEOUT", "0")
    message = read_refusal()
    assert "TILEWISE_CHUNK='x'" in message
    assert "TILEWISE_TIMEOUT='0'" in message
    assert "\n" not in message


def test_refusal_of_a_value_does_not_show_the_key(monkeypatch):
    monkeypatch.setenv("TILEWISE_API_KEY", "sesame")
    monkeypatch.setenv("TILEWISE_CHUNK", "x")
    assert "sesame" not in read_refusal()


def test_invalid_value_in_dotenv_is_refused(folder):
    """The error names the variable."""
    (folder / ".env").write_text("TILEWISE_CHUNK=x\n")
    assert read_refusal().startswith("TILEWISE_CHUNK='x': ")


def test_invalid_value_in_toml_is_refused(folder):
    """The error names the variable of the same setting."""
    (folder / "tilewise.toml").write_text('chunk = "x"\n')
    assert read_refusal().startswith("TILEWISE_CHUNK='x': ")


@pytest.mark.parametrize("line", ["modle = 1", "Model = 'a'", "TILEWISE_MODEL = 'a'", "[settings]"])
def test_unknown_key_in_toml_is_refused(folder, line):
    """The error lists the settings that exist."""
    (folder / "tilewise.toml").write_text(line + "\n")
    message = read_refusal()
    assert message.startswith("tilewise.toml: ")
    assert "use one of allow_hosts, ask_above, attempts, base_url" in message
    assert "api_key" not in message


@pytest.mark.parametrize("data", [b"model == 1\n", b"model\n", b"model = '\xff'\n"])
def test_malformed_toml_is_refused(folder, data):
    """The error names the file and the problem."""
    (folder / "tilewise.toml").write_bytes(data)
    assert read_refusal().startswith("tilewise.toml cannot be read: ")


def test_api_key_in_toml_is_refused(folder):
    """That file is shared: the error names the variable to use, and does not show the key."""
    (folder / "tilewise.toml").write_text('api_key = "sesame"\n')
    message = read_refusal()
    assert "tilewise.toml" in message
    assert "TILEWISE_API_KEY" in message
    assert "sesame" not in message


def test_unknown_settings_in_environment_and_dotenv_are_listed(monkeypatch, folder):
    """An unknown name with the prefix of the settings is a typing error."""
    (folder / ".env").write_text("TILEWISE_DAYLY_BUDGET=5\nOTHER_TOO=1\n")
    monkeypatch.setenv("TILEWISE_MODLE", "a")
    monkeypatch.setenv("TILEWISE_CONCURENCY", "1")
    monkeypatch.setenv("TILEWISE_MODEL", "a")
    monkeypatch.setenv("TILEWISE_API_KEY", "a")
    monkeypatch.setenv("OTHER", "a")
    assert find_unknown_settings() == ["TILEWISE_CONCURENCY", "TILEWISE_DAYLY_BUDGET", "TILEWISE_MODLE"]


def test_has_ledger_is_true_for_a_server(monkeypatch):
    """The connection is tried only when the ledger is opened."""
    monkeypatch.setenv("TILEWISE_LEDGER", "postgresql+psycopg://me@host/ledger")
    assert read_settings().has_ledger is True


def test_refused_ledger_url_hides_its_password(monkeypatch):
    monkeypatch.setenv("TILEWISE_LEDGER", "mysql://me:geheim@host/ledger")
    with pytest.raises(ConfigurationError, match="must be sqlite:///") as raised:
        read_settings()
    assert "geheim" not in str(raised.value)


def test_ledger_password_with_an_unescaped_at_sign_is_refused(monkeypatch):
    """A part of it would be taken for the host, which connection errors name."""
    monkeypatch.setenv("TILEWISE_LEDGER", "postgresql+psycopg://me:ge@heim@host/ledger")
    with pytest.raises(ConfigurationError, match="%40") as refused:
        read_settings()
    assert "heim" not in refused.value.message


def test_has_ledger_is_true_once_the_file_exists(folder, monkeypatch):
    """An estimate reads an existing ledger, and does not create one."""
    monkeypatch.setenv("TILEWISE_LEDGER", f"sqlite:///{folder}/ledger.db")
    assert read_settings().has_ledger is False
    (folder / "ledger.db").touch()
    assert read_settings().has_ledger is True


@pytest.mark.parametrize("key", ["ключ", "two\nlines"])
def test_key_that_no_header_can_carry_is_refused_without_showing_it(monkeypatch, key):
    monkeypatch.setenv("TILEWISE_API_KEY", key)
    with pytest.raises(ConfigurationError, match="printable ASCII") as raised:
        read_settings()
    assert key not in str(raised.value)


@pytest.mark.parametrize(
    "text", ['"sesame-1"', "'sesame-1'", "Bearer sesame-1", '"Bearer sesame-1"', " bearer  sesame-1\n", "sesame-1"]
)
def test_quotes_bearer_and_whitespace_are_stripped_from_the_key(monkeypatch, text):
    """`docker --env-file` keeps quotation marks; replies are masked by the stripped key."""
    monkeypatch.setenv("TILEWISE_API_KEY", text)
    assert read_settings().api_key == SecretStr("sesame-1")


def test_blank_key_is_not_set(monkeypatch):
    monkeypatch.setenv("TILEWISE_API_KEY", "  ")
    assert read_settings().api_key is None


def test_with_key_strips_hides_and_validates_the_key():
    settings = read_settings().with_key(" sesame\n")
    assert settings.api_key == SecretStr("sesame")
    assert "sesame" not in repr(settings)
    with pytest.raises(ConfigurationError, match="printable ASCII") as raised:
        settings.with_key("sésame")
    assert "same" not in raised.value.message
