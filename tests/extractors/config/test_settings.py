"""settings.py: the defaults, who wins over whom, and every bad value refused with what is allowed."""

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
    """An empty working directory, and an environment without a setting."""
    for name in [name for name in os.environ if name.upper().startswith(("TILEWISE_", "TOGETHER_API_KEY"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal():
    """What is said about the settings in force here."""
    with pytest.raises(ConfigurationError) as raised:
        read_settings()
    return str(raised.value)


@pytest.mark.parametrize(("name", "default"), DEFAULTS)
def test_every_default(name, default):
    """Where nothing is set, the documented default is in force."""
    assert getattr(read_settings(), name) == default


def test_the_ledger_lies_in_the_user_s_state_folder():
    """One ledger serves all outputs of an account."""
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
def test_a_setting_is_read_from_the_environment(monkeypatch, name, text, value):
    """Every setting is a variable with the prefix TILEWISE_."""
    monkeypatch.setenv(f"TILEWISE_{name}", text)
    assert getattr(read_settings(), name.lower()) == value


def test_the_environment_wins_over_both_files(folder, monkeypatch):
    """What is set for one command beats what lies in the folder."""
    monkeypatch.setenv("TILEWISE_MODEL", "environment")
    (folder / ".env").write_text("TILEWISE_MODEL=dotenv\n")
    (folder / "tilewise.toml").write_text('model = "toml"\n')
    assert read_settings().model == "environment"


def test_dotenv_wins_over_toml(folder):
    """What is private to one machine beats what is shared; each fills what the other leaves open."""
    (folder / ".env").write_text("TILEWISE_MODEL=dotenv\n")
    (folder / "tilewise.toml").write_text('model = "toml"\noutput = "toml"\n')
    assert (read_settings().model, read_settings().output) == ("dotenv", "toml")


def test_toml_wins_over_the_defaults(folder):
    """A setting is written there without its prefix and in lower case."""
    (folder / "tilewise.toml").write_text('chunk = 10\nask_above = 1.5\nprices = "p.toml"\n')
    settings = read_settings()
    assert (settings.chunk, settings.ask_above, settings.prices) == (10, Decimal("1.5"), Path("p.toml"))


@pytest.mark.parametrize("written", ['"a.internal, b.internal"', '["a.internal", "b.internal"]'])
def test_hosts_are_a_text_or_a_list_in_toml(folder, written):
    """Each is as good, also where the list of the environment is a text."""
    (folder / "tilewise.toml").write_text(f"allow_hosts = {written}\n")
    assert read_settings().allow_hosts == ("a.internal", "b.internal")


def test_hosts_that_are_neither_text_nor_list_are_refused(folder):
    """As any bad value is."""
    (folder / "tilewise.toml").write_text("allow_hosts = 5\n")
    assert refusal() == "TILEWISE_ALLOW_HOSTS=5: must be host names, separated by commas"


def test_files_of_other_folders_are_not_read(folder, monkeypatch):
    """The working directory alone counts."""
    (folder / "tilewise.toml").write_text('model = "toml"\n')
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    assert read_settings().model is None


@pytest.mark.parametrize("name", ["TILEWISE_API_KEY", "TOGETHER_API_KEY"])
def test_the_key_has_two_names(monkeypatch, name):
    """A key that is set for other tools serves as well."""
    monkeypatch.setenv(name, "sesame")
    assert read_settings().api_key == SecretStr("sesame")


def test_the_own_name_of_the_key_wins(monkeypatch):
    """TILEWISE_API_KEY is meant for this tool, TOGETHER_API_KEY for all."""
    monkeypatch.setenv("TOGETHER_API_KEY", "general")
    monkeypatch.setenv("TILEWISE_API_KEY", "own")
    assert read_settings().api_key == SecretStr("own")


def test_the_key_may_lie_in_dotenv(folder):
    """The environment's file is where people keep it."""
    (folder / ".env").write_text("TOGETHER_API_KEY=sesame\n")
    assert read_settings().api_key == SecretStr("sesame")


@pytest.mark.parametrize(
    "form", [repr, str, lambda settings: str(settings.model_dump()), lambda settings: f"{settings}"]
)
def test_the_key_is_never_shown(monkeypatch, form):
    """Settings can be logged: a secret is stars, not even its first letters."""
    monkeypatch.setenv("TILEWISE_API_KEY", "sesame")
    assert "sesame" not in form(read_settings())
    assert "ses" not in form(read_settings())


def test_settings_do_not_change(monkeypatch):
    """What a run was begun with holds to its end."""
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
def test_a_bad_value_is_refused(monkeypatch, name, value, allowed):
    """The message names the setting, its value and what is allowed."""
    monkeypatch.setenv(f"TILEWISE_{name}", value)
    message = refusal()
    assert message.startswith(f"TILEWISE_{name}={value!r}: ")
    assert allowed in message


def test_all_bad_values_are_named_at_once(monkeypatch):
    """Nobody has to correct one to learn of the next."""
    monkeypatch.setenv("TILEWISE_CHUNK", "x")
    monkeypatch.setenv("TILEWISE_TIMEOUT", "0")
    message = refusal()
    assert "TILEWISE_CHUNK='x'" in message
    assert "TILEWISE_TIMEOUT='0'" in message
    assert "\n" not in message


def test_a_bad_value_does_not_bring_the_key_to_light(monkeypatch):
    """A refusal is printed and logged; the key is not in it."""
    monkeypatch.setenv("TILEWISE_API_KEY", "sesame")
    monkeypatch.setenv("TILEWISE_CHUNK", "x")
    assert "sesame" not in refusal()


def test_a_bad_value_in_dotenv_is_refused(folder):
    """It is named as the variable that it is."""
    (folder / ".env").write_text("TILEWISE_CHUNK=x\n")
    assert refusal().startswith("TILEWISE_CHUNK='x': ")


def test_a_bad_value_in_toml_is_refused(folder):
    """It has the same name wherever it is set."""
    (folder / "tilewise.toml").write_text('chunk = "x"\n')
    assert refusal().startswith("TILEWISE_CHUNK='x': ")


@pytest.mark.parametrize("line", ["modle = 1", "Model = 'a'", "TILEWISE_MODEL = 'a'", "[settings]"])
def test_an_unknown_key_in_toml_is_refused(folder, line):
    """A typing error is not passed over; the settings that exist are listed."""
    (folder / "tilewise.toml").write_text(line + "\n")
    message = refusal()
    assert message.startswith("tilewise.toml: ")
    assert "use one of allow_hosts, ask_above, attempts, base_url" in message
    assert "api_key" not in message


@pytest.mark.parametrize("data", [b"model == 1\n", b"model\n", b"model = '\xff'\n"])
def test_broken_toml_is_refused(folder, data):
    """The file is named, with what is wrong in it."""
    (folder / "tilewise.toml").write_bytes(data)
    assert refusal().startswith("tilewise.toml cannot be read: ")


def test_the_key_is_refused_in_toml(folder):
    """That file is shared: the key is told where it belongs, and not repeated."""
    (folder / "tilewise.toml").write_text('api_key = "sesame"\n')
    message = refusal()
    assert "tilewise.toml" in message
    assert "TILEWISE_API_KEY" in message
    assert "sesame" not in message


def test_typing_errors_in_the_environment_are_listed(monkeypatch, folder):
    """An unknown name with the prefix of the settings is a typing error, in `.env`, too."""
    (folder / ".env").write_text("TILEWISE_DAYLY_BUDGET=5\nOTHER_TOO=1\n")
    monkeypatch.setenv("TILEWISE_MODLE", "a")
    monkeypatch.setenv("TILEWISE_CONCURENCY", "1")
    monkeypatch.setenv("TILEWISE_MODEL", "a")
    monkeypatch.setenv("TILEWISE_API_KEY", "a")
    monkeypatch.setenv("OTHER", "a")
    assert find_unknown_settings() == ["TILEWISE_CONCURENCY", "TILEWISE_DAYLY_BUDGET", "TILEWISE_MODLE"]


def test_a_ledger_on_a_server_is_there(monkeypatch):
    """Whether it answers is seen when it is opened."""
    monkeypatch.setenv("TILEWISE_LEDGER", "postgresql+psycopg://me@host/ledger")
    assert read_settings().has_ledger is True


def test_a_ledger_s_password_is_not_said(monkeypatch):
    """A URL of a driver that is not known is refused without what it holds."""
    monkeypatch.setenv("TILEWISE_LEDGER", "mysql://me:geheim@host/ledger")
    with pytest.raises(ConfigurationError, match="must be sqlite:///") as raised:
        read_settings()
    assert "geheim" not in str(raised.value)


def test_a_password_with_an_at_sign_is_refused_before_half_of_it_is_taken_for_a_host(monkeypatch):
    """Errors of the connection name the host."""
    monkeypatch.setenv("TILEWISE_LEDGER", "postgresql+psycopg://me:ge@heim@host/ledger")
    with pytest.raises(ConfigurationError, match="%40") as refused:
        read_settings()
    assert "heim" not in refused.value.message


def test_a_ledger_is_there_once_its_file_is(folder, monkeypatch):
    """An estimate reads a ledger that exists, and makes none."""
    monkeypatch.setenv("TILEWISE_LEDGER", f"sqlite:///{folder}/ledger.db")
    assert read_settings().has_ledger is False
    (folder / "ledger.db").touch()
    assert read_settings().has_ledger is True


@pytest.mark.parametrize("key", ["ключ", "two\nlines"])
def test_a_key_that_no_header_can_carry_is_refused_unseen(monkeypatch, key):
    """One line that does not show it."""
    monkeypatch.setenv("TILEWISE_API_KEY", key)
    with pytest.raises(ConfigurationError, match="printable ASCII") as raised:
        read_settings()
    assert key not in str(raised.value)


@pytest.mark.parametrize(
    "written", ['"sesame-1"', "'sesame-1'", "Bearer sesame-1", '"Bearer sesame-1"', " bearer  sesame-1\n", "sesame-1"]
)
def test_a_key_is_bare_of_what_it_was_copied_with(monkeypatch, written):
    """`docker --env-file` keeps quotation marks; only the bare key is masked where a server repeats it."""
    monkeypatch.setenv("TILEWISE_API_KEY", written)
    assert read_settings().api_key == SecretStr("sesame-1")


def test_a_key_of_spaces_is_none(monkeypatch):
    """What is blank is not set."""
    monkeypatch.setenv("TILEWISE_API_KEY", "  ")
    assert read_settings().api_key is None


def test_a_key_from_elsewhere_is_as_one_from_the_environment():
    """Bare of the white space around it, hidden in words, and refused without being shown."""
    settings = read_settings().with_key(" sesame\n")
    assert settings.api_key == SecretStr("sesame")
    assert "sesame" not in repr(settings)
    with pytest.raises(ConfigurationError, match="printable ASCII") as raised:
        settings.with_key("sésame")
    assert "same" not in raised.value.message
