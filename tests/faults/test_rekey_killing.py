"""Kill the re-keying with SIGKILL again and again: every record counts once, and the verdicts say so."""

import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import sqlalchemy as sa

from producers.checkpoints import read_checkpoints
from producers.cowrie.generator import Plan, lines
from sinks import migrate
from sinks.schema import raw_events, session_summaries
from tallystick.contracts.cowrie import KAFKA_PIPELINE, parse_tolerantly
from tallystick.database.engine import make_engine
from tallystick.settings import Settings
from tests.foreign import Foreign, foreign_topic
from tests.loads import ask
from tests.support import ROLE, environment, eventually, tally_json
from tests.warm import Command

EVENTS, KILLS = 24_000, 5
VERDICTS = "SELECT count(*) FROM source_stages WHERE verdict = 'succeeded'"


@contextmanager
def role(settings: Settings, *arguments: str) -> Iterator[Command]:
    """Run a role as a process while the block runs."""
    with Command([*ROLE, *arguments], env=environment(settings)) as process:
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()


def position(settings: Settings, topic: Foreign) -> int:
    """How far the topic is re-keyed and acknowledged, over all partitions."""
    found = read_checkpoints(settings).values()
    return sum(checkpoint.position for checkpoint in found if checkpoint.name.startswith(topic.name))


def write_little_by_little(settings: Settings, topic: Foreign, records: list[bytes | None]) -> None:
    """Write the records, never more than a tenth of them ahead of what is re-keyed."""
    ahead = len(records) // 10
    for first in range(0, len(records), 500):
        topic.write(records[first : first + 500])
        eventually(lambda: position(settings, topic), until=lambda at, first=first: at >= first - ahead)  # type: ignore[misc]


def test_records_count_once_however_often_the_process_is_killed(settings: Settings) -> None:
    engine = make_engine(settings)
    migrate.upgrade(engine, settings)
    engine.dispose()
    events = [line.rstrip(b"\n") for line in lines(Plan(events=EVENTS, seed=5))]
    records = [record for line in events for record in ([line, b"junk", None] if line is events[9] else [line])]
    with ExitStack() as running:
        topic = running.enter_context(foreign_topic(settings))
        for name in ("agents", "sinks", "verifier"):
            running.enter_context(role(settings, name))
        writer = threading.Thread(target=write_little_by_little, args=(settings, topic, records))
        writer.start()
        for _ in range(KILLS):
            before = position(settings, topic)
            with role(settings, "rekey", "--topic", topic.name) as victim:
                eventually(lambda: position(settings, topic), until=lambda at, before=before: at > before)  # type: ignore[misc]
                victim.kill()
            assert writer.is_alive(), "it was over before it could be killed"
        with role(settings, "rekey", "--topic", topic.name):
            writer.join(120)
        with role(settings, "rekey", "--topic", topic.name, "--until-end") as last:
            _, said = last.communicate(120)
        assert last.returncode == 0, said
        eventually(
            lambda: ask(settings, VERDICTS),
            until=lambda found: found == [(len(KAFKA_PIPELINE.stages) * 3,)],
            seconds=120,
        )
        sources = tally_json(settings, "sources", "--json")
    assert {source["succeeded"] for source in sources} == {True}
    assert sum(source["lines"] for source in sources) == len(records)
    assert sum(source["dead_letters"] for source in sources) == 1
    counted = Counter(parse_tolerantly(line)["session"] for line in events)
    summaries = sa.select(session_summaries.c.session_id, session_summaries.c.event_count)
    assert dict(ask(settings, summaries)) == counted
    assert ask(settings, sa.select(sa.func.count()).select_from(raw_events)) == [(len(events),)]
