"""A real Kafka on this machine: one node that is broker and controller (KRaft), on the loopback address."""

import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar

from tallystick.contracts.topics import MAX_RECORD_BYTES
from tallystick.errors import ServiceError
from tallystick.local import files, jars, java, ports, processes, reach
from tallystick.local.service import Launch, Service

RECORD_OVERHEAD_BYTES = 64 * 1024
"""What a record batch adds to the largest record: headers, key, framing."""
HEAP = "512m"
LOG4J = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="console"><PatternLayout pattern="%d{ISO8601} %-5p %c{1}: %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="console"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
  </Loggers>
</Configuration>
"""


class Kafka(Service):
    """The broker. Its folder holds `data`, the configuration, the ports and the log."""

    name: ClassVar[str] = "kafka"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._data = folder / "data"
        self._config = folder / "server.properties"
        self._ports = folder / "ports.json"

    def prepare(self) -> Launch:
        """See Service. Downloads Kafka the first time."""
        command = self._java()
        chosen = ports.keep(self._ports, "broker", "controller")
        if not self._data.exists():
            self._format(command, chosen)
        config = render(data=self._data, broker=chosen["broker"], controller=chosen["controller"])
        files.replace(self._config, config.encode())
        return Launch(argv=[*command, "kafka.Kafka", str(self._config)])

    def marks(self) -> tuple[str, ...]:
        """See Service."""
        return "kafka.Kafka", str(self._config)

    def answers(self) -> bool:
        """See Service: the broker is registered, and its controller lets it work."""
        port = ports.kept(self._ports).get("broker")
        return port is not None and ports.listens(port) and reach.kafka(self.address(), seconds=2.0)

    def address(self) -> str:
        """Return `host:port` of the broker."""
        port = ports.kept(self._ports).get("broker")
        return f"{ports.HOST}:{port}" if port else ""

    def _java(self) -> list[str]:
        classpath = jars.classpath(log=self.log)
        # Native libraries are unpacked here and left behind by a killed broker.
        scratch = self.folder / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        log4j = self.folder / "log4j2.xml"
        files.replace(log4j, LOG4J.encode())
        return [
            str(java.find()),
            f"-Xmx{os.environ.get('TALLY_KAFKA_HEAP', HEAP)}",
            "-XX:+UseSerialGC",
            # The optimising compiler costs a load of minutes more CPU than it saves: `make bench` showed 8.4 s with it
            # and 4.1 s without it for 400,000 events.
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            f"-Djava.io.tmpdir={scratch}",
            f"-Dlog4j2.configurationFile={log4j}",
            "-cp",
            classpath,
        ]

    def _format(self, command: list[str], chosen: dict[str, int]) -> None:
        """Make the data folder: beside its place and then moved there, so that a half made one is never started."""
        draft = self.folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        config = self.folder / "format.properties"
        files.replace(config, render(data=draft, broker=chosen["broker"], controller=chosen["controller"]).encode())
        # 16 bytes in base64; the first letter is fixed because "-" would look like an option.
        cluster_id = f"T{secrets.token_urlsafe(16)[1:]}"
        storage = ["kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, "--config", str(config)]
        with self.log.open("ab") as output:
            done = subprocess.run(
                [*command, *storage],
                env=processes.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )
        if done.returncode:
            raise ServiceError(
                f"Kafka's data folder can't be made in {self.folder}. The end of its log, {self.log}:\n"
                f"{processes.tail(self.log)}"
            )
        config.unlink()
        draft.rename(self._data)


def render(*, data: Path, broker: int, controller: int) -> str:
    """Return the broker's configuration, for data in the folder `data` and the two ports."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{ports.HOST}:{controller}",
        "listeners": f"PLAINTEXT://{ports.HOST}:{broker},CONTROLLER://{ports.HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{ports.HOST}:{broker}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "log.retention.ms": -1,
        "message.max.bytes": MAX_RECORD_BYTES + RECORD_OVERHEAD_BYTES,
        "replica.fetch.max.bytes": MAX_RECORD_BYTES + RECORD_OVERHEAD_BYTES,
        # One node.
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        # A killed broker is let in again only when its old session has ended; the default is 9 s.
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 1_000,
        # Nobody else waits for the controller's word; by default it writes one twice a second.
        "metadata.max.idle.interval.ms": 0,
        # One machine, that others work on: few threads, little memory, no waiting for members that don't come.
        "group.initial.rebalance.delay.ms": 0,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "num.recovery.threads.per.data.dir": 2,
        "log.cleaner.threads": 1,
        "log.cleaner.dedupe.buffer.size": 32 * 1024 * 1024,
    }
    return "".join(f"{name}={str(value).replace(chr(92), chr(92) * 2)}\n" for name, value in settings.items())
