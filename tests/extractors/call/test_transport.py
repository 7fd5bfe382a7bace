"""The HTTP client: what the clients of one process share, and what the environment decides."""

import pytest
from support.command import AUTHORITY

from extractors.call.profiles import Endpoint
from extractors.call.transport import build_client
from extractors.core.errors import ConfigurationError

FAR = Endpoint("https://api.example.com/v1")
NEAR = Endpoint("http://127.0.0.1:9/v1")


def certificates(endpoint):
    """The TLS context that a client of this endpoint uses."""
    return build_client(endpoint)._transport.ssl_context


def test_clients_of_one_process_read_the_certificates_once(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    assert certificates(FAR) is certificates(FAR)


def test_a_changed_certificate_file_is_read_anew(monkeypatch, tmp_path):
    """A context that was read before does not hide that today's file holds no certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    assert [each["serialNumber"] for each in certificates(FAR).get_ca_certs()]
    (tmp_path / "none.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        build_client(FAR)


@pytest.mark.parametrize("url", ["https://localhost:9/v1", "https://127.0.0.1:9/v1"])
def test_tls_to_this_machine_uses_the_certificates_of_the_environment(monkeypatch, url):
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    assert len(certificates(Endpoint(url)).get_ca_certs()) == 1


def test_plain_http_to_this_machine_reads_no_certificates(monkeypatch, tmp_path):
    """A path that leads nowhere does not stop a run that needs no certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    assert certificates(NEAR).get_ca_certs() == []
