"""config/headers.py and TILEWISE_HEADERS: extra request headers are validated, and their values are never shown."""

import pytest

from extractors.config.headers import parse_headers
from extractors.config.settings import list_origins, read_settings
from extractors.core.errors import ConfigurationError

VALUE = "tok-4f1c9e77"


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ('{"X-Team": "invoices"}', {"X-Team": "invoices"}),
        ('{"X-Team": " a ", "cf-aig-authorization": "Bearer b"}', {"X-Team": "a", "cf-aig-authorization": "Bearer b"}),
        ("{}", {}),
    ],
)
def test_headers_are_parsed_from_a_json_object(text, headers):
    assert parse_headers(text) == headers


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("X-Team: tok-4f1c9e77", "must be a JSON object"),
        ('["tok-4f1c9e77"]', "must be a JSON object"),
        ('{"X-Team": "tok-4f1c9e77"', "must be a JSON object"),
        ('{"Host": "tok-4f1c9e77"}', "may not set Host"),
        ('{"content-length": "tok-4f1c9e77"}', "may not set content-length"),
        ('{"Transfer-Encoding": "tok-4f1c9e77"}', "may not set Transfer-Encoding"),
        ('{"X-Team": "tok-4f1c9e77\\r\\nHost: b"}', "the value of X-Team must be printable ASCII"),
        ('{"X-Team": "tok-4f1c9e77\\n"}', "the value of X-Team must be printable ASCII"),
        ('{"X-Team": "tok-4f1c9e77 ü"}', "the value of X-Team must be printable ASCII"),
        ('{"X-Te am": "tok-4f1c9e77"}', "'X-Te am' is no header name"),
        ('{"X-Team\\r\\nHost": "tok-4f1c9e77"}', "is no header name"),
        ('{"": "tok-4f1c9e77"}', "'' is no header name"),
        ('{"X-Team": 5}', "the value of X-Team must be text"),
        ('{"X-Team": "tok-4f1c9e77", "x-team": "b"}', "names x-team twice"),
    ],
)
def test_bad_header_is_refused_without_showing_its_value(monkeypatch, text, problem):
    """The message names the setting and the header."""
    monkeypatch.setenv("TILEWISE_HEADERS", text)
    with pytest.raises(ConfigurationError) as raised:
        read_settings()
    assert str(raised.value).startswith("TILEWISE_HEADERS=**********: ")
    assert problem in str(raised.value)
    assert VALUE not in str(raised.value)


def test_header_values_are_masked(monkeypatch):
    """Neither the text of the settings nor `doctor` shows them."""
    monkeypatch.setenv("TILEWISE_HEADERS", f'{{"X-Team": "{VALUE}"}}')
    settings = read_settings()
    header_origin = next(origin for origin in list_origins(settings) if origin.name == "TILEWISE_HEADERS")
    assert (header_origin.value, header_origin.place) == ("X-Team: **********", "environment")
    assert VALUE not in repr(settings) + str(settings.model_dump())


def test_headers_are_refused_in_the_toml_file(tmp_path, monkeypatch):
    """Like the key, they belong in the environment or in `.env`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tilewise.toml").write_text('headers = "{}"\n')
    with pytest.raises(ConfigurationError, match="TILEWISE_HEADERS"):
        read_settings()
