"""What `kafka.client` says of TLS and SASL, in the words of Faust's client; what that can't do is refused."""

import ssl
from pathlib import Path

import faust
import pytest
import trustme

from streams.credentials import credentials
from tallystick.errors import ConfigurationError

SASL = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "me", "sasl.password": "secret"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


@pytest.mark.parametrize("client", [{}, {"security.protocol": "plaintext"}, {"socket.timeout.ms": "5000"}])
def test_a_plain_connection_needs_none(client: dict[str, str]) -> None:
    assert credentials(client) is None


def test_a_password_goes_with_its_mechanism() -> None:
    found = credentials({"security.protocol": "SASL_PLAINTEXT", **SASL})
    assert isinstance(found, faust.SASLCredentials)
    assert (found.protocol.value, found.mechanism.value) == ("SASL_PLAINTEXT", "SCRAM-SHA-512")
    assert (found.username, found.password, found.ssl_context) == ("me", "secret", None)


def test_certificates_are_verified_unless_that_is_switched_off(authority: Path) -> None:
    tls = {"security.protocol": "SSL", "ssl.ca.location": str(authority)}
    found = credentials(tls)
    assert isinstance(found, faust.SSLCredentials)
    assert (found.context.verify_mode, found.context.check_hostname) == (ssl.CERT_REQUIRED, True)
    lax = credentials({**tls, "enable.ssl.certificate.verification": "false"})
    assert isinstance(lax, faust.SSLCredentials)
    assert lax.context.verify_mode == ssl.CERT_NONE
    any_name = credentials({**tls, "ssl.endpoint.identification.algorithm": "none"})
    assert isinstance(any_name, faust.SSLCredentials)
    assert (any_name.context.verify_mode, any_name.context.check_hostname) == (ssl.CERT_REQUIRED, False)


@pytest.mark.parametrize(
    ("client", "told"),
    [
        ({"security.protocol": "TLS"}, "security.protocol is 'TLS'"),
        ({"security.protocol": "SASL_PLAINTEXT"}, r"sasl.mechanism is \(none\)"),
        ({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "GSSAPI"}, "sasl.mechanism is GSSAPI"),
        ({"security.protocol": "SSL", "ssl.ca.location": "/nowhere.pem"}, "can't be used"),
        ({"security.protocol": "SSL", "ssl.keystore.location": "/k.p12"}, "ssl.keystore.location"),
    ],
)
def test_what_the_agents_cannot_do_is_refused(client: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        credentials(client)
