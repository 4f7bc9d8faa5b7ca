"""A real Kafka that takes only TLS and a password: every client of a load connects, and a wrong password is told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from producers.cowrie.generator import Plan, lines
from tallystick.local import reach
from tallystick.local.kafka import Kafka
from tallystick.local.service import Launch
from tallystick.settings import Settings, load_settings
from tests.support import tally

PASSWORD = "correct horse"
LISTENER = "listener.name.sasl_ssl"


class SecuredKafka(Kafka):
    """The local broker, whose only listener for clients wants TLS and the password of `tally`."""

    authority: ClassVar[trustme.CA]
    client: ClassVar[dict[str, str]]

    def prepare(self) -> Launch:
        launch = super().prepare()
        config = Path(launch.argv[-1])
        host, _, port = self.address().partition(":")
        issued = self.authority.issue_cert(host)
        key = load_pem_private_key(issued.private_key_pem.bytes(), password=None)
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        secrets = {
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
            "inter.broker.listener.name": "SASL_SSL",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            f"{LISTENER}.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule required"
            f' username="tally" password="{PASSWORD}" user_tally="{PASSWORD}";',
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": chain.decode(),
            "ssl.keystore.key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.certificates": self.authority.cert_pem.bytes().decode(),
        }
        plain = config.read_text().replace(f"PLAINTEXT://{host}:{port}", f"SASL_SSL://{host}:{port}")
        kept = [line for line in plain.splitlines() if line.partition("=")[0] not in secrets]
        more = [f"{name}={value.strip()}".replace("\n", "\\n") for name, value in secrets.items()]
        config.write_text("\n".join([*kept, *more, ""]))
        return launch

    def answers(self) -> bool:
        address = self.address()
        return bool(address) and reach.kafka(address, seconds=2.0, client=self.client)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a deployment on a broker of its own with TLS and a password, and on SQLite."""
    folder = tmp_path_factory.mktemp("secured")
    SecuredKafka.authority = trustme.CA()
    certificate = folder / "ca.pem"
    SecuredKafka.authority.cert_pem.write_to_path(str(certificate))
    SecuredKafka.client = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "tally",
        "sasl.password": PASSWORD,
        "ssl.ca.location": str(certificate),
    }
    broker = SecuredKafka(folder / "kafka")
    asked = load_settings()
    try:
        broker.start_or_join()
        yield asked.model_copy(
            update={
                "home": folder / "home",
                "kafka": asked.kafka.model_copy(
                    update={"bootstrap_servers": broker.address(), "client": SecuredKafka.client}
                ),
                "database": asked.database.model_copy(
                    update={"url": SecretStr(f"sqlite:///{folder}/tally.db"), "schema_name": None}
                ),
            }
        )
    finally:
        broker.stop()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "cowrie.json"
    path.write_bytes(b"".join(lines(Plan(events=1_000, seed=8))))
    return path


def test_a_load_succeeds_with_tls_and_the_password(
    secured: Settings, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_KAFKA__CLIENT", json.dumps(secured.kafka.client))
    done = tally(secured, "load", str(log))
    assert done.returncode == 0, done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    logs = b"".join(path.read_bytes() for path in (secured.home / "logs").iterdir())
    assert PASSWORD.encode() not in logs


def test_a_wrong_password_is_told_and_nothing_is_begun(
    secured: Settings, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLY_KAFKA__CLIENT", json.dumps({**secured.kafka.client, "sasl.password": "wrong"}))
    done = tally(secured, "load", str(log))
    assert done.returncode == 1
    assert "Kafka" in done.stderr
