"""`python -m tests.bench`: end to end against a bare COPY, then each part alone; a table, and JSON for programs."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
import sqlalchemy as sa

from producers.cowrie.generator import Plan, lines
from sinks import migrate
from tallystick.cli.deployment import SINK_PROCESSES
from tallystick.contracts.catalogue import TOPICS
from tallystick.contracts.cowrie import EVENTS, SESSIONS
from tallystick.database.engine import make_engine
from tallystick.kafka import topics
from tallystick.kafka.consuming import read_whole
from tallystick.local import stack
from tallystick.settings import Settings, load_settings
from tests.bench import backfill, enumerating, firehose, media_copy, soak
from tests.bench.atproto import Rate
from tests.bench.atproto import measure as measure_validation
from tests.bench.backfill import Backfilled
from tests.bench.copying import copy_rate, scalar
from tests.bench.enumerating import Enumerated
from tests.bench.firehose import Followed
from tests.bench.latency import Latency, measure
from tests.bench.media_copy import Copying
from tests.bench.processes import MIB, Roles, Usage, print_table, read_log, roles, wait_for, write_json
from tests.bench.soak import Soaked
from tests.bench.topics import size
from tests.plugins.services import drop_topics

MEDIA_ENUMERATION, MEDIA_COPY, ATPROTO = "media-enumeration", "media-copy", "atproto"
FIREHOSE, BACKFILL = "firehose", "backfill"
SOAK = "soak"
"""Takes as long as it is told to, so it must be asked for."""
SERVERLESS = (MEDIA_ENUMERATION, MEDIA_COPY, ATPROTO)
"""What needs neither Kafka nor a database."""
VERDICTS = "SELECT count(*) FROM source_stages WHERE verdict = 'succeeded' AND stage IN ({})"


class EndToEnd(msgspec.Struct):
    """One run of everything.

    `rows_seconds` and `sessions_seconds` go from the first word of the reader (stage read began) to the commit of the
    last row and of the last session; `rate` is by the longer of them. `verified_seconds` go from the start of the
    reader's process to the last verdict.
    """

    events: int
    sessions: int
    rows_seconds: float
    sessions_seconds: float
    verified_seconds: float
    rate: float
    copy_rate: float
    ratio: float
    usage: dict[str, Usage]


class Alone(msgspec.Struct):
    """One part by itself, from a topic (or file) that is complete, to the end: its start-up is not counted."""

    part: str
    rate: float
    unit: str


class Figures(msgspec.Struct):
    """All that a run measured."""

    cpus: int
    bytes: int
    end_to_end: list[EndToEnd]
    alone: list[Alone]
    latency: list[Latency]
    enumeration: list[Enumerated] = []
    media_copy: list[Copying] = []
    atproto: list[Rate] = []
    firehose: list[Followed] = []
    soak: Soaked | None = None
    backfill: list[Backfilled] = []


def main() -> None:
    """Run the benchmarks that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--runs", type=int, default=3, help="runs, end to end, of enumerations and copies")
    parser.add_argument("--files", type=int, default=50_000, help="files of the tree that is enumerated")
    parser.add_argument("--levels", nargs="+", default=firehose.LEVELS, choices=firehose.LEVELS)
    parser.add_argument("--commits", type=int, default=40_000, help="commits of each stream that is followed")
    parser.add_argument("--repositories", nargs="+", type=int, default=[1000], help="of each host that is fetched")
    parser.add_argument("--only", choices=("end-to-end", "alone", "latency", FIREHOSE, BACKFILL, SOAK, *SERVERLESS))
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"))
    chosen = parser.parse_args()
    figures = Figures(cpus=os.cpu_count() or 0, bytes=0, end_to_end=[], alone=[], latency=[])
    with tempfile.TemporaryDirectory() as folder:
        if chosen.only in (None, MEDIA_ENUMERATION):
            figures.enumeration += enumerating.measure(Path(folder), files=chosen.files, runs=chosen.runs)
        if chosen.only in (None, MEDIA_COPY):
            figures.media_copy += media_copy.measure(Path(folder), runs=chosen.runs)
        if chosen.only in (None, ATPROTO):
            figures.atproto += measure_validation()
        if chosen.only not in SERVERLESS:
            _measure_with_servers(figures, Path(folder), chosen)
    _report(figures)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(chosen.output, figures)
    print(f"\nfigures: {chosen.output}")


def _measure_with_servers(figures: Figures, folder: Path, chosen: argparse.Namespace) -> None:
    """Measure what needs servers: streams, repositories, and the way of a log."""
    with _servers(folder) as servers:
        if chosen.only in (None, FIREHOSE):
            streams = _deployment(servers, "streams")
            figures.firehose += firehose.measure(streams, commits=chosen.commits, levels=tuple(chosen.levels))
            _drop(streams)
        if chosen.only == SOAK:
            whole = _deployment(servers, "soak")
            figures.soak = soak.measure(whole, commits=chosen.commits)
            _drop(whole)
        if chosen.only in (None, BACKFILL):
            for number in chosen.repositories:
                whole = _deployment(servers, f"backfill{number}")
                figures.backfill.append(
                    backfill.measure(whole, repositories=number, watch=lambda running: _watch_servers(running, servers))
                )
                _drop(whole)
        if chosen.only in (FIREHOSE, BACKFILL, SOAK):
            return
        log = folder / "cowrie.json"
        with log.open("wb") as file:
            file.writelines(lines(Plan(events=chosen.events, seed=3)))
        figures.bytes = log.stat().st_size
        if chosen.only in (None, "end-to-end"):
            for number in range(chosen.runs):
                figures.end_to_end.append(_end_to_end(_deployment(servers, f"e{number}"), servers, log, chosen.events))
        if chosen.only in (None, "alone"):
            figures.alone += _alone(_deployment(servers, "alone"), log, chosen.events)
        if chosen.only in (None, "latency"):
            live = _deployment(servers, "live")
            figures.latency.append(measure(live))
            _drop(live)


@contextmanager
def _servers(folder: Path) -> Iterator[Settings]:
    asked = load_settings().model_copy(update={"home": folder / "home"})
    resolved = stack.resolve(asked)
    try:
        yield resolved
    finally:
        stack.down(asked)


def _deployment(servers: Settings, name: str) -> Settings:
    """Return settings with topics and a schema of their own, both made."""
    mine = servers.model_copy(
        update={
            "home": servers.home / name,
            "kafka": servers.kafka.model_copy(update={"topic_prefix": f"bench.{name}."}),
            "database": servers.database.model_copy(update={"schema_name": f"bench_{name}"}),
        }
    )
    mine.home.mkdir(parents=True)
    topics.create(mine, TOPICS)
    engine = make_engine(mine)
    migrate.upgrade(engine, mine)
    engine.dispose()
    return mine


def _end_to_end(settings: Settings, servers: Settings, log: Path, events: int) -> EndToEnd:
    engine = make_engine(settings)
    warm_up = settings.home / "warm-up.json"
    with warm_up.open("wb") as file:
        file.writelines(lines(Plan(events=100, seed=4, sensor="warm-up")))
    with roles(settings, settings.home / "roles.log") as running:
        running.start("agents")
        for names in SINK_PROCESSES:
            running.start("sinks", *names)
        running.start("verifier")
        _watch_servers(running, servers)
        read_log(settings, warm_up)
        wait_for(lambda: scalar(engine, VERDICTS.format("'verified'")) == 1, what="the warm-up's verdict")
        running.start_clock()
        started = time.monotonic()
        reader = running.start("reader", str(log))
        verified = wait_for(
            lambda: scalar(engine, VERDICTS.format("'verified'")) == 2, what="the last verdict", every=0.25
        )
        if reader.wait() != 0:
            sys.exit("bench: the reader failed")
        usage = running.used()
    rows_seconds, sessions_seconds = (_seconds_until(engine, stage) for stage in ("persisted", "aggregated"))
    stored = scalar(engine, "SELECT count(*) FROM raw_events") - 100
    counted = scalar(engine, "SELECT sum(event_count) FROM session_summaries") - 100
    sessions = scalar(engine, "SELECT count(*) FROM session_summaries")
    engine.dispose()
    if (stored, counted) != (events, events):
        sys.exit(f"bench: {events} events, but {stored} rows and {counted} counted in sessions")
    rate, copied = events / max(rows_seconds, sessions_seconds), copy_rate(settings)
    _drop(settings)
    return EndToEnd(
        events=events,
        sessions=sessions,
        rows_seconds=rows_seconds,
        sessions_seconds=sessions_seconds,
        verified_seconds=verified - started,
        rate=rate,
        copy_rate=copied,
        ratio=rate / copied,
        usage=usage,
    )


def _seconds_until(engine: sa.Engine, stage: str) -> float:
    """Return the seconds from the beginning of the large source's reading to the commit that completed `stage`."""
    query = """
        SELECT extract(epoch FROM max(t.ended_at) FILTER (WHERE t.stage = :stage)
                                - min(t.started_at) FILTER (WHERE t.stage = 'read'))
        FROM source_stages t JOIN sources s USING (source_id) WHERE s.events > 100
    """
    with engine.connect() as connection:
        return float(connection.scalar(sa.text(query), {"stage": stage}) or 0)


def _alone(settings: Settings, log: Path, events: int) -> list[Alone]:
    """Measure each part with nothing else running but the servers; each finds its whole input in Kafka."""
    engine = make_engine(settings)
    found = [
        Alone("reader, file to topic (its process's start included)", events / read_log(settings, log), "events/s")
    ]
    records = sum(1 for _ in read_whole(settings, settings.kafka.topic(EVENTS), client_id="bench"))
    with roles(settings, settings.home / "agents.log") as running:
        running.start("agents")
        began = wait_for(lambda: size(settings, SESSIONS) > 0, what="the first session")
        already = size(settings, SESSIONS)
        ended = _when_still(settings)
        written = size(settings, SESSIONS)
    found.append(Alone("sessions agent", events * (written - already) / written / (ended - began), "events/s"))
    for sink, topic, rows in (("raw_events", EVENTS, events), ("session_summaries", SESSIONS, records)):
        with roles(settings, settings.home / f"{sink}.log") as running:
            running.start("sinks", sink)
            end = size(settings, topic)
            passed = f"SELECT sum(next_offset) FROM sink_offsets WHERE sink = '{sink}'"
            began = wait_for(_reaches(engine, passed, 1), what=f"{sink}'s first batch")
            already = scalar(engine, passed)
            ended = wait_for(_reaches(engine, passed, end), what=f"{sink}'s last batch")
        unit = "rows/s" if sink == "raw_events" else "sessions/s"
        found.append(Alone(f"sink {sink}", rows * (end - already) / end / (ended - began), unit))
    engine.dispose()
    _drop(settings)
    return found


def _reaches(engine: sa.Engine, query: str, number: int) -> Callable[[], bool]:
    return lambda: scalar(engine, query) >= number


def _when_still(settings: Settings, *, seconds: float = 3.0) -> float:
    """Return the time at which the sessions' topic grew last, once it hasn't for `seconds`."""
    before, last = size(settings, SESSIONS), time.monotonic()
    while time.monotonic() - last < seconds:
        time.sleep(0.02)
        if (now := size(settings, SESSIONS)) != before:
            before, last = now, time.monotonic()
    return last


def _watch_servers(running: Roles, servers: Settings) -> None:
    for service in stack.status(
        servers.model_copy(update={"kafka": load_settings().kafka, "database": load_settings().database})
    ):
        if service.pid:
            running.watch(f"({service.name})", psutil.Process(service.pid))


def _drop(settings: Settings) -> None:
    engine = make_engine(settings)
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {settings.database.schema_name} CASCADE"))
    engine.dispose()
    drop_topics(settings)


def _report(figures: Figures) -> None:
    print(f"\n{figures.cpus} CPUs" + (f"; a log of {figures.bytes / MIB:.0f} MiB" if figures.bytes else ""))
    if figures.end_to_end:
        print_table(
            "End to end: a file to rows and sessions in PostgreSQL",
            (
                "run",
                "events",
                "sessions",
                "s to last row",
                "s to last session",
                "s to last verdict",
                "events/s",
                "bare COPY rows/s",
                "ratio",
            ),
            [
                (
                    number + 1,
                    f"{run.events:,}",
                    f"{run.sessions:,}",
                    f"{run.rows_seconds:.2f}",
                    f"{run.sessions_seconds:.2f}",
                    f"{run.verified_seconds:.2f}",
                    f"{run.rate:,.0f}",
                    f"{run.copy_rate:,.0f}",
                    f"{run.ratio:.2f}",
                )
                for number, run in enumerate(figures.end_to_end)
            ],
        )
        print_table(
            "What each process used in the last of them",
            ("process", "peak MiB", "CPU s"),
            [(name, f"{u.peak_mib:.0f}", f"{u.cpu_seconds:.1f}") for name, u in figures.end_to_end[-1].usage.items()],
        )
    if figures.alone:
        print_table(
            "Each part alone", ("part", "rate", "unit"), [(a.part, f"{a.rate:,.0f}", a.unit) for a in figures.alone]
        )

    if figures.latency:
        print_table(
            "A live log: from the append of a line to its row, in milliseconds",
            ("events", "events/s", "p50", "p99", "longest"),
            [
                (f"{run.events:,}", f"{run.rate:.0f}", f"{run.p50:.0f}", f"{run.p99:.0f}", f"{run.longest:.0f}")
                for run in figures.latency
            ],
        )
    if figures.media_copy:
        print_table("Media: files into the store", media_copy.NAMES, media_copy.rows(figures.media_copy))
    if figures.atproto:
        print_table(
            "AT Protocol: captured commits, by one core",
            ("step", "commits per CPU s"),
            [(rate.step, f"{rate.rate:,.0f}") for rate in figures.atproto],
        )
    if figures.firehose:
        print_table(
            "AT Protocol: a stream, from the socket into Kafka", firehose.NAMES, firehose.rows(figures.firehose)
        )
    if figures.soak:
        title = f"AT Protocol: {figures.soak.commits:,} commits into the database, {figures.soak.rate:,.0f} commits/s"
        print_table(title, soak.NAMES, soak.rows(figures.soak))
    if figures.backfill:
        print_table(
            "AT Protocol: repositories as a whole, by the command", backfill.NAMES, backfill.rows(figures.backfill)
        )
        print_table(
            "What each process used",
            ("repositories", "process", "peak MiB", "CPU s"),
            backfill.usage_rows(figures.backfill),
        )
    if figures.enumeration:
        print_table(
            "Enumeration of a tree, to a listing: the best of the runs",
            ("method", "entries", "CPU s", "wall s", "entries per CPU s"),
            [
                (e.method, f"{e.entries:,}", f"{e.cpu_seconds:.2f}", f"{e.wall_seconds:.2f}", f"{e.rate:,.0f}")
                for e in figures.enumeration
            ],
        )


if __name__ == "__main__":
    main()
