"""The Faust application: its settings, its agents and its state.

Why each setting is as it is stands in docs/explanation/faust.md; in short: at least once by acknowledgement by hand,
a crash instead of a skip, topics made by `tally topics create` and never by Faust.
"""

import asyncio
from collections.abc import Iterable
from typing import cast

import faust
from faust.streams import Stream
from faust.types import StreamT
from mode import ServiceT
from mode.supervisors import CrashingSupervisor

from streams.checkpointing import Aggregate, CheckpointedTable, Checkpointer
from streams.credentials import credentials
from streams.liveness import STALL_SECONDS, StallWatch
from streams.repositories.agent import RepositoriesAggregate
from streams.sessions.agent import SessionsAggregate
from streams.stages.agent import SILENCE_CHECK_SECONDS, SilenceWatch, StagesAggregate
from streams.store import open_slot
from streams.transport import Conductor, Transport
from tallystick.contracts import atproto, cowrie, stages, topics
from tallystick.contracts.topics import MAX_RECORD_BYTES, Topic
from tallystick.errors import ServiceError
from tallystick.kafka.groups import Group
from tallystick.kafka.publisher import Publisher
from tallystick.kafka.topics import cluster_id
from tallystick.settings import Settings

GROUP = "agents"
STALL_CHECK_SECONDS = 5.0
LINGER_MS = 5
"""How long the agents' producer waits for more records: short, since every checkpoint waits for its flush."""


class _App(faust.App):
    """Faust's application without its monitor, which would count every record twice over and keep it all in memory."""

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        """Return what starts with the application."""
        services = super().on_init_dependencies()
        self.sensors.remove(self.monitor)
        return services


def make_app(settings: Settings) -> faust.App:
    """Return the application with all agents. Opens the state database.

    Raises ServiceError where Kafka doesn't answer or no state database can be opened, ConfigurationError where
    `kafka.client` asks for what Faust's client can't do.
    """
    cluster = cluster_id(settings)
    database = open_slot(
        settings.home / "state" / cluster / (settings.kafka.topic_prefix or "default"),
        cache_bytes=settings.agents.cache_bytes,
    )
    app = _App(
        settings.kafka.group(GROUP),
        broker=f"kafka://{(settings.kafka.bootstrap_servers or '').replace(',', ';kafka://')}",
        broker_credentials=credentials(settings.kafka.client),
        store="memory://",
        datadir=str(settings.home / "state" / "faust"),
        processing_guarantee="at_least_once",
        agent_supervisor=CrashingSupervisor,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_replication_factor=settings.kafka.replication_factor,
        topic_partitions=settings.kafka.partitions,
        table_standby_replicas=0,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
        broker_request_timeout=30.0,
        broker_max_poll_records=2_000,
        broker_commit_interval=1.0,
        broker_commit_every=10_000,
        stream_buffer_maxsize=2_048,
        stream_wait_empty=True,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 * 1024 * 1024,
        producer_max_request_size=MAX_RECORD_BYTES,
        web_enabled=False,
        worker_redirect_stdouts=False,
    )
    app.transport = Transport(app.conf.broker_consumer, app)
    conductor = cast(Conductor, app.topics)
    publisher = Publisher(settings, client_id="agents", linger_ms=LINGER_MS)

    def add(name: str, *, source: Topic, changelog: Topic, aggregate: Aggregate) -> CheckpointedTable:
        table = CheckpointedTable(app, changelog=changelog, settings=settings, database=database)
        channel = app.topic(
            settings.kafka.topic(source),
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            allow_empty=True,
        )

        checkpointer = Checkpointer(app, table=table, aggregate=aggregate, publisher=publisher, settings=settings)

        conductor.takers[settings.kafka.topic(source)] = checkpointer.take

        async def work(stream: StreamT[bytes]) -> None:
            await checkpointer.run(cast(Stream[bytes], stream))

        app.agent(channel, name=name, concurrency=1)(work)
        return table

    watch = SilenceWatch()
    add("sessions", source=cowrie.EVENTS, changelog=cowrie.SESSIONS, aggregate=SessionsAggregate())
    table = add("stages", source=topics.STAGES, changelog=topics.SOURCE_STAGES, aggregate=StagesAggregate(watch))
    add(
        "repositories",
        source=atproto.COMMITS,
        changelog=atproto.REPOSITORIES,
        aggregate=RepositoriesAggregate(settings.atproto.resync),
    )
    _report_silent_workers(app, watch, table=table, publisher=publisher, settings=settings)
    _end_if_stalled(app, StallWatch(Group(settings, GROUP, cowrie.EVENTS, topics.STAGES, atproto.COMMITS)))
    return app


def _report_silent_workers(
    app: faust.App, watch: SilenceWatch, *, table: CheckpointedTable, publisher: Publisher, settings: Settings
) -> None:
    async def note_all_sources() -> None:
        changelog = table.changelog_topic_name
        held = [tp.partition for tp in app.consumer.assignment() if tp.topic == changelog]
        for _, value in table.states.states(held):
            watch.note(stages.decode_state(value))

    async def report() -> None:
        if app.rebalancing or app.in_recovery:
            return
        for failure in watch.failures():
            publisher.send(
                settings.kafka.topic(topics.STAGES), key=failure.source.encode(), value=stages.encode(failure)
            )

    table.on_recover(note_all_sources)
    app.timer(SILENCE_CHECK_SECONDS)(report)


def _end_if_stalled(app: faust.App, watch: StallWatch) -> None:
    async def look() -> None:
        if app.rebalancing or app.in_recovery:
            watch.forget()
        elif stalled := await asyncio.get_running_loop().run_in_executor(None, watch.stalled):
            await app.crash(ServiceError(f"no progress for {STALL_SECONDS:.0f} s though there is work in {stalled}"))

    app.timer(STALL_CHECK_SECONDS)(look)
