"""call/transport.py: clients of one process share their TLS contexts, and the environment names the certificates."""

import pytest
from support.command import AUTHORITY

from extractors.call.profiles import Endpoint
from extractors.call.transport import build_client
from extractors.core.errors import ConfigurationError

REMOTE = Endpoint("https://api.example.com/v1")
LOCAL = Endpoint("http://127.0.0.1:9/v1")


def get_ssl_context(endpoint):
    """The TLS context that a client of this endpoint uses."""
    return build_client(endpoint)._transport.ssl_context


def test_clients_of_one_process_read_the_certificates_once(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    assert get_ssl_context(REMOTE) is get_ssl_context(REMOTE)


def test_changed_certificate_file_is_read_again(monkeypatch, tmp_path):
    """The cached context of the old file does not hide that the new file has no certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    assert [certificate["serialNumber"] for certificate in get_ssl_context(REMOTE).get_ca_certs()]
    (tmp_path / "none.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        build_client(REMOTE)


@pytest.mark.parametrize("url", ["https://localhost:9/v1", "https://127.0.0.1:9/v1"])
def test_tls_to_localhost_uses_the_certificates_of_the_environment(monkeypatch, url):
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    assert len(get_ssl_context(Endpoint(url)).get_ca_certs()) == 1


def test_plain_http_to_localhost_reads_no_certificates(monkeypatch, tmp_path):
    """A missing certificate file does not stop a run that needs no certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    assert get_ssl_context(LOCAL).get_ca_certs() == []
