"""Replays: tables that are emptied come back as they were, whoever else is at work, and nothing is judged meanwhile."""

import json
from collections.abc import Iterator
from random import Random

import pytest
import sqlalchemy as sa

from producers.cowrie.generator import Plan, lines
from sinks.inventories import Inventories
from sinks.raw_events import RawEvents
from sinks.refills import Refill, read_refills
from sinks.replaying import OWNED, empty, plan
from sinks.schema import metadata, sink_offsets
from sinks.sources import Sources
from tallystick.contracts import cowrie
from tallystick.database.engine import make_engine, snapshot
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.dumps import BOOKKEEPING, dump
from tests.inventories import KEYS, random_state
from tests.inventories import dump as dump_inventories
from tests.loads import load, old
from tests.plugins.services import apart, on_sqlite
from tests.sinks import events, query, running, send_slice, wait_for_rows, wait_until_observed
from tests.support import tally

EVENTS = 3_000
INJECTION = " ".join(f"'{kind} {blob} me'" for kind, blob in KEYS.items())


def typed(number: int, **fields: object) -> bytes:
    at = f"2026-11-23T00:00:{number:02}.000000Z"
    named = {"session": "keys", "sensor": "pot", "timestamp": at, "src_ip": "192.0.2.9"}
    return json.dumps({**named, **fields}).encode() + b"\n"


LOG = [
    *lines(Plan(events=EVENTS, seed=5)),
    typed(1, eventid="cowrie.command.input", input=f"printf '%s\\n' {INJECTION} >> ~/.ssh/authorized_keys"),
    typed(2, eventid="cowrie.direct-tcpip.request", dst_ip="mail.example", dst_port=25),
    b"not JSON\n",
]


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def loaded(
    request: pytest.FixtureRequest, servers: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings of a database, of either kind, with a log that fills every table."""
    home = tmp_path_factory.mktemp("home")
    log = old(home / "cowrie.json", b"".join(LOG))
    with apart(servers, home=home) as settings:
        mine = on_sqlite(settings, home) if request.param == "sqlite" else settings
        done = load(mine, str(log))
        assert done.code == 0, done.said
        yield mine


def test_every_sink_comes_back_as_it_was(loaded: Settings) -> None:
    before = dump(loaded)
    of_others = {name for name in before if name.startswith(("media", "atproto"))}
    assert {name for name, rows in before.items() if not rows} == {"dead_letter_retries"} | of_others, (
        "others are filled"
    )
    for sinks in ([Inventories.name], list(OWNED)):
        done = tally(loaded, "db", "replay", *sinks, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "records again in" in done.stdout
        assert dump(loaded) == before, sinks


def test_nothing_is_deleted_unless_it_is_meant(loaded: Settings) -> None:
    before = dump(loaded)
    engine = make_engine(loaded)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE password_tracking SET breached = true WHERE times_seen > 0"))
    passwords = len(query(engine, "SELECT 1 FROM password_tracking"))
    shown = tally(loaded, "db", "replay", "inventories", "dead_letters")
    assert shown.returncode == 2
    assert "nothing was changed; give --yes" in shown.stderr
    assert f"{passwords:,} rows of password_tracking hold what a replay may not bring back: breached," in shown.stdout
    assert "rows of ip_inventory" not in shown.stdout
    unknown = tally(loaded, "db", "replay", "raw_event", "--yes")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "no such sink: 'raw_event'; there are raw_events," in unknown.stderr
    alone = tally(loaded, "db", "replay", "atproto_commits", "atproto_accounts", "--yes")
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "give all of them, `tally db replay atproto_commits atproto_snapshots atproto_repositories`" in alone.stderr
    assert {**dump(loaded), "password_tracking": before["password_tracking"]} == before
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE password_tracking SET breached = false"))
    engine.dispose()
    assert dump(loaded) == before


def test_a_sink_that_runs_and_gets_nothing_new_takes_part(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    random = Random(3)
    for number in range(40):
        state = random_state(random, f"s{number}", 1)
        key = cowrie.session_key("vm", state.session)
        publisher.send(place.kafka.topic(cowrie.SESSIONS), key=key, value=cowrie.encode_state(state))
    publisher.flush()
    with running(place, Inventories.name):
        wait_for_rows(engine, "SELECT count(*) FROM session_inventory", (40,))
        before = dump_inventories(engine)
        done = tally(place, "db", "replay", Inventories.name, "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert dump_inventories(engine) == before


def test_a_sink_finds_that_its_tables_were_emptied_with_its_next_record(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    with running(place, RawEvents.name):
        for number in range(3):
            send_slice(publisher, place, events(10, first=10 * number), session=f"s{number}")
        wait_until_observed(place, RawEvents.name, (30, 0, 0))
        with engine.begin() as connection:
            empty(connection, [RawEvents.name])
        for number in range(3):
            send_slice(publisher, place, events(1, first=100 + number), session=f"s{number}")
        wait_until_observed(place, RawEvents.name, (33, 0, 0))
    assert query(engine, "SELECT count(*) FROM raw_events") == [(33,)]
    assert query(engine, "SELECT sum(inserted) FROM sink_counters") == [(33,)]


def test_a_replay_of_a_replay_keeps_the_end_of_the_first(engine: sa.Engine) -> None:
    def at(offset: int) -> dict[str, Refill]:
        with engine.begin() as connection:
            connection.execute(sink_offsets.update().values(next_offset=offset))
            return read_refills(connection)

    row = {"cluster_id": "c", "sink": Sources.name, "topic": "t", "partition": 0, "next_offset": 10}
    with engine.begin() as connection:
        connection.execute(sink_offsets.insert().values(row))
        assert read_refills(connection) == {}
        empty(connection, [Sources.name])
        assert read_refills(connection) == {Sources.name: Refill(0, 10)}
    assert at(4) == {Sources.name: Refill(4, 10)}
    with engine.begin() as connection:
        empty(connection, [Sources.name])
    assert at(9) == {Sources.name: Refill(9, 10)}
    assert at(10) == at(11) == {}


def test_every_table_belongs_to_one_sink(engine: sa.Engine) -> None:
    owned = [each.table.name for sink in OWNED.values() for each in sink]
    assert sorted(owned) == sorted(set(metadata.tables) - BOOKKEEPING)
    with snapshot(engine) as connection:
        assert {each.rows for each in plan(connection, list(OWNED))} == {0}
