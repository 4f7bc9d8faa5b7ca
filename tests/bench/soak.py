"""AT Protocol: a long stream through everything, from the socket to rows, and the memory of each process meanwhile."""

import time
from collections.abc import Callable, Iterator

import msgspec
import sqlalchemy as sa

from tallystick.cli.atproto.planning import SINK_PROCESSES
from tallystick.contracts.atproto import COMMITS
from tallystick.database.engine import make_engine
from tallystick.settings import Settings
from tests.bench.copying import scalar
from tests.bench.firehose import follower_environment, synthetic_host
from tests.bench.processes import roles, wait_for
from tests.bench.topics import size

PARTS = 5
"""Memory is looked at after each of so many parts of the stream."""
NAMES = ("process", *(f"MiB at {part}/{PARTS}" for part in range(1, PARTS + 1)), "CPU s")
SECONDS = 4 * 3600.0
_STORED = "SELECT coalesce(sum(next_offset), 0) FROM sink_offsets WHERE sink = 'atproto_commits'"


class Soaked(msgspec.Struct):
    """A stream that is in the database; `rate` is by the clock, start-up included. `mib` is by process, a part each."""

    commits: int
    rate: float
    mib: dict[str, list[float]]
    cpu_seconds: dict[str, float]


def measure(settings: Settings, *, commits: int) -> Soaked:
    """Follow a synthetic host by all roles, and return what they took once all of its commits are in the database.

    `settings` name a Kafka with topics, and a database with tables.
    """
    engine = make_engine(settings)
    with synthetic_host(commits) as port, roles(settings, settings.home / "roles.log") as running:
        running.environment = follower_environment(settings, port, settings.atproto.validation)
        started = time.monotonic()
        running.start("agents")
        for names in SINK_PROCESSES.values():
            running.start("sinks", *names)
        running.start("verifier")
        running.start("atproto-firehose", f"--host=ws://127.0.0.1:{port}", "--from=oldest")
        mib: dict[str, list[float]] = {}
        for stored in _parts(settings, engine, commits):
            for name, memory in running.memory().items():
                mib.setdefault(name, []).append(memory)
            print(f"  {stored:,} of {commits:,} commits are stored, {time.monotonic() - started:.0f} s", flush=True)
        seconds = time.monotonic() - started
        used = running.used()
    engine.dispose()
    return Soaked(commits, commits / seconds, mib, {name: usage.cpu_seconds for name, usage in used.items()})


def _parts(settings: Settings, engine: sa.Engine, commits: int) -> Iterator[int]:
    """Yield the number of commits that are stored, as it passes the end of each part."""

    def has(wanted: int) -> Callable[[], bool]:
        return lambda: scalar(engine, _STORED) >= wanted

    for part in range(1, PARTS):
        wait_for(has(commits * part // PARTS), what="a part", seconds=SECONDS, every=0.5)
        yield scalar(engine, _STORED)
    wait_for(has(commits), what="the last part", seconds=SECONDS, every=0.5)
    wait_for(has(size(settings, COMMITS)), what="the last commit", every=0.5)
    yield scalar(engine, _STORED)


def rows(found: Soaked) -> list[tuple[str, ...]]:
    """Return the rows of a table."""
    return [(name, *(f"{one:.0f}" for one in mib), f"{found.cpu_seconds[name]:.0f}") for name, mib in found.mib.items()]
