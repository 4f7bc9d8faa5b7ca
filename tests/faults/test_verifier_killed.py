"""Two verifiers share the commands; what one has taken when it is killed the other answers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from confluent_kafka import ConsumerGroupState, KafkaException

from sinks.projection import projection_id
from tallystick.contracts import cowrie, stages
from tallystick.contracts.stages import Command as StageCommand
from tallystick.contracts.stages import Reported
from tallystick.contracts.topics import STAGE_COMMANDS
from tallystick.kafka import topics
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.sinks import ready, stage_events
from tests.support import ROLE, environment, eventually
from tests.warm import Command

SOURCES = [f"{number:016x}" for number in range(1, 601)]
VERIFIERS = 2


@contextmanager
def verifier(settings: Settings) -> Iterator[Command]:
    """A verifier as a process of its own, killed at the end of the block."""
    with Command([*ROLE, "verifier"], env=environment(settings), merged=True) as process:
        try:
            yield process
        finally:
            process.kill()


def shares(settings: Settings, group: str) -> list[int]:
    """How many partitions each member of a group holds, once it is at rest."""
    client = topics.admin(settings)  # nothing is answered if it is gone before
    (described,) = client.describe_consumer_groups([settings.kafka.group(group)]).values()
    try:
        found = described.result()
    except KafkaException:  # it has just been started
        return []
    if found.state is not ConsumerGroupState.STABLE:
        return []
    return sorted(len(member.assignment.topic_partitions) for member in found.members)


def test_what_a_killed_verifier_has_taken_is_answered_by_the_other(settings: Settings) -> None:
    engine = ready(settings)
    projection = projection_id(engine)
    engine.dispose()

    def reported() -> list[Reported]:
        return [event for event in stage_events(settings) if isinstance(event, Reported)]

    answered: Callable[[], set[str]] = lambda: {event.source for event in reported()}  # noqa: E731
    publisher = Publisher(settings, client_id="test")
    with ExitStack() as running:
        victim, survivor = (running.enter_context(verifier(settings)) for _ in range(VERIFIERS))
        eventually(lambda: shares(settings, f"verifier-{projection}"), until=lambda held: held == [1, 1])
        for source in SOURCES:
            command = StageCommand(source, cowrie.KIND, "/a", "verified", 1, projection, "2026-01-01T00:00:00.000000Z")
            publisher.send(settings.kafka.topic(STAGE_COMMANDS), key=source.encode(), value=stages.encode(command))
        publisher.flush()
        eventually(answered)
        victim.kill()
        victim.wait()
        assert len(answered()) < len(SOURCES), "it was killed while there was work"
        eventually(lambda: len(answered()), until=lambda count: count == len(SOURCES))
        survivor.terminate()
        assert survivor.wait(30) == 143
    assert all(event.found == event.expected for event in reported())
