"""The whole pipeline of media within a test: real sinks, verifier and worker on real servers, real stage processes.

Only Faust is not there: a thread folds stage events with the fold that its agent runs.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import sqlalchemy as sa

from producers.media.identifier import Wish, identify
from producers.progress import FileOutcome
from sinks.projection import projection_id
from sinks.roles import run_sinks, run_verifier
from sinks.standing import SourceStanding, read_standings
from streams.stages import fold
from tallystick.cli.media.ingest import MEDIA_SINKS
from tallystick.cli.media.stage_process import Argv, stage_argv
from tallystick.cli.media.worker import Worker
from tallystick.contracts import stages
from tallystick.contracts.catalogue import PIPELINES
from tallystick.contracts.stages import SourceState
from tallystick.contracts.topics import SOURCE_STAGES, STAGE_COMMANDS, STAGE_OUTCOMES, STAGES, Topic
from tallystick.database.engine import snapshot
from tallystick.kafka.consuming import close, make_consumer, records
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tallystick.supervision.records import Records
from tests.sinks import ready, stopping
from tests.support import environment, eventually
from tests.warm import commands


class Pipeline:
    """A pipeline that runs; `engine` is its database's."""

    def __init__(self, settings: Settings, engine: sa.Engine) -> None:
        self.settings, self.engine = settings, engine

    def begin(self, target: Path | str, **more: object) -> FileOutcome:
        """Identify one target, and begin an attempt at it."""
        wish = Wish((str(target),), **more)  # type: ignore[arg-type]
        (outcome,) = identify(self.settings, wish, stop=lambda: False, on_progress=lambda _progress: None)
        return outcome

    def ingest(self, target: Path | str, *, seconds: float = 60.0, **more: object) -> SourceStanding:
        """Take one target through its stages, and return how it stands once nothing more can come."""
        outcome = self.begin(target, **more)
        assert outcome.claimed, outcome.reason
        return self.wait(outcome, seconds=seconds)

    def wait(self, outcome: FileOutcome, *, seconds: float = 60.0) -> SourceStanding:
        """Return how a medium stands once nothing more can come of this attempt."""
        standing = eventually(
            lambda: self.standing(outcome.source),
            until=lambda seen: seen is not None and seen.attempt == outcome.attempt and seen.is_final(claimed=True),
            seconds=seconds,
        )
        assert standing is not None
        return standing

    def standing(self, medium: str) -> SourceStanding | None:
        """Return how a medium stands."""
        with snapshot(self.engine) as connection:
            return next(iter(read_standings(connection, [medium])), None)

    def query(self, text: str, **values: object) -> list[tuple[object, ...]]:
        """Return the rows of an SQL query."""
        with snapshot(self.engine) as connection:
            return [tuple(row) for row in connection.execute(sa.text(text), values)]


@contextmanager
def pipeline(settings: Settings, *, argv: Argv = stage_argv) -> Iterator[Pipeline]:
    """Run a pipeline while the block runs; `argv` gives the command line of each stage's process."""
    engine = ready(settings)
    with ExitStack() as running:
        running.enter_context(patch.dict(os.environ, environment(settings)))
        running.enter_context(patch("tallystick.cli.media.stage_process.nursery", commands))
        running.enter_context(stopping(lambda stop: run_sinks(settings, MEDIA_SINKS, stop)))
        running.enter_context(stopping(lambda stop: run_verifier(settings, stop)))
        running.enter_context(stopping(lambda stop: _fold(settings, stop)))
        running.enter_context(stopping(lambda stop: _work(settings, engine, argv, stop)))
        yield Pipeline(settings, engine)
    engine.dispose()


def _work(settings: Settings, engine: sa.Engine, argv: Argv, stop: Callable[[], bool]) -> None:
    with Records(settings) as records:
        Worker(
            settings,
            name="test",
            task="worker",
            watcher=records,
            projection=projection_id(engine),
            engine=engine,
            consumer=make_consumer(settings, client_id="media-worker", group="media-worker"),
            publisher=Publisher(settings, client_id="media-worker", linger_ms=5),
            argv=argv,
        ).run(stop)


def _fold(settings: Settings, stop: Callable[[], bool]) -> None:
    """Do what the stages agent does, for as long as the test needs it."""
    states: dict[bytes, SourceState] = {}
    consumer = make_consumer(settings, client_id="fold", group="fold")
    consumer.subscribe([settings.kafka.topic(STAGES)])
    publisher = Publisher(settings, client_id="fold", linger_ms=5)

    def send(topic: Topic, key: bytes, value: object) -> None:
        publisher.send(settings.kafka.topic(topic), key=key, value=stages.encode(value))

    while not stop():
        for message in records(consumer, most=100, seconds=0.1):
            key = message.key() or b""
            state = states.setdefault(key, SourceState(key.decode()))
            outcomes, commands = fold.apply(state, stages.decode_event(message.value() or b""), PIPELINES)
            send(SOURCE_STAGES, key, state)
            for outcome in outcomes:
                send(STAGE_OUTCOMES, key, outcome)
            for command in commands:
                send(STAGE_COMMANDS, key, command)
        publisher.flush()
    close(consumer)
