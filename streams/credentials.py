"""How Faust's client proves who it is: the librdkafka properties of `kafka.client`, in Faust's words.

One place says how Kafka is reached, so it must mean the same to both clients; what Faust's can't do is refused.
"""

import ssl
from collections.abc import Mapping

import faust
from faust.types.auth import CredentialsT

from tallystick.errors import ConfigurationError

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_MEANT = {
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "enable.ssl.certificate.verification",
    "ssl.endpoint.identification.algorithm",
}


def credentials(client: Mapping[str, str]) -> CredentialsT | None:
    """Return what Faust needs to connect as `client` says; None for a connection without TLS and password.

    Properties that have nothing to do with that are librdkafka's alone. Raises ConfigurationError for a protocol, a
    mechanism or a property of TLS or SASL that the agents' client doesn't have, and for certificates that can't be
    read.
    """
    for name in client:
        if name.startswith(("ssl.", "sasl.", "enable.ssl.", "enable.sasl.")) and name not in _MEANT:
            raise ConfigurationError(
                f"kafka.client: the agents can't heed {name}; they know {', '.join(sorted(_MEANT))}"
            )
    match client.get("security.protocol", "plaintext").upper():
        case "PLAINTEXT":
            return None
        case "SSL":
            return faust.SSLCredentials(_context(client))
        case "SASL_PLAINTEXT":
            return _sasl(client, None)
        case "SASL_SSL":
            return _sasl(client, _context(client))
        case other:
            raise ConfigurationError(
                f"kafka.client: security.protocol is {other!r}; it is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
            )


def _sasl(client: Mapping[str, str], context: ssl.SSLContext | None) -> CredentialsT:
    mechanism = client.get("sasl.mechanism") or client.get("sasl.mechanisms") or "(none)"
    if mechanism not in MECHANISMS:
        raise ConfigurationError(
            f"kafka.client: sasl.mechanism is {mechanism}; the agents know {', '.join(MECHANISMS)}"
        )
    return faust.SASLCredentials(
        username=client.get("sasl.username"),
        password=client.get("sasl.password"),
        mechanism=mechanism,
        ssl_context=context,
    )


def _context(client: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=client.get("ssl.ca.location"), cadata=client.get("ssl.ca.pem"))
        if certificate := client.get("ssl.certificate.location"):
            context.load_cert_chain(certificate, client.get("ssl.key.location"), client.get("ssl.key.password"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"kafka.client: a certificate or key can't be used: {error}") from error
    if client.get("ssl.endpoint.identification.algorithm", "https").lower() == "none":
        context.check_hostname = False
    if client.get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
