"""AT Protocol on both databases: the same rows in any order, what is odd is refused alone, and the looks."""

from collections.abc import Iterator
from random import Random

import msgspec
import pytest
import sqlalchemy as sa
import xxhash

from sinks import schema
from sinks.atproto.accounts import Accounts
from sinks.atproto.commits import Commits
from sinks.atproto.identities import Identities
from sinks.atproto.labels import Labels
from sinks.atproto.looks import INSPECTION, PERSISTED, VERIFIED
from sinks.atproto.notices import Notices
from sinks.atproto.repositories import Repositories
from sinks.atproto.snapshots import Snapshots
from sinks.isolation import write_isolating
from sinks.looking import Look, Question, look
from sinks.projection import projection_id
from sinks.replaying import TOGETHER, empty
from sinks.sink import AnySink, Record
from sinks.writers import make_writer
from tallystick.contracts import atproto, stages
from tallystick.contracts.atproto import (
    Account,
    Action,
    Commit,
    End,
    Fetched,
    Identity,
    Label,
    Notice,
    NoticeKind,
    Op,
    RepositoryState,
    Stored,
    Sync,
)
from tallystick.contracts.atproto import (
    Repository as Standing,
)
from tallystick.contracts.dead_letters import NO_RECORD
from tallystick.contracts.stages import Command, Observed, Reported
from tallystick.contracts.tids import tid_at, tid_number
from tallystick.contracts.topics import STAGE_COMMANDS, Topic
from tallystick.errors import ContractError
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings, load_settings
from tests.atproto_rows import AT, HOST, committed, dump, fetch, word, write
from tests.atproto_world import Repository
from tests.plugins.services import apart, on_sqlite
from tests.sinks import query, ready, running, stage_events, verifying, wait_for_rows
from tests.support import eventually

CID = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
OTHER_CID = "bafyreih7wfei65pxzhauoibu3ls7jgmkju4bspy4t2ha2qdjnzqvoy33ai"
DID = "did:plc:one"
TABLES = tuple(table for name, table in schema.metadata.tables.items() if name.startswith("atproto_"))
REV = [tid_at(1_795_000_000_000_000 + number) for number in range(5)]


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def migrated(
    request: pytest.FixtureRequest, servers: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sa.Engine]:
    home = tmp_path_factory.mktemp("home")
    with apart(servers, home=home) as settings:
        made = ready(on_sqlite(settings, home) if request.param == "sqlite" else settings)
        yield made
        made.dispose()


@pytest.fixture
def database(migrated: sa.Engine) -> sa.Engine:
    """An engine for a database without rows, which the tests of this file share where they need no Kafka."""
    with migrated.begin() as connection:
        for table in TABLES:
            connection.execute(table.delete())
    return migrated


def commit(*ops: Op, rev: str = REV[0], **more: object) -> Commit:
    return msgspec.structs.replace(Commit(DID, rev, HOST, CID, CID, ops, seq=7, time=AT), **more)


def put(rkey: str, record: bytes = b"{}", **more: object) -> Op:
    return msgspec.structs.replace(Op(Action.CREATE, "a.b", rkey, CID, record=msgspec.Raw(record)), **more)


def store(engine: sa.Engine, sink: type[AnySink], *records: Record) -> None:
    write(engine, sink(make_writer(engine)), *records)  # type: ignore[call-arg]


def repository(seed: int = 1, commits: int = 12) -> tuple[Repository, list[Record]]:
    """Return a repository after some commits, and these as records."""
    random, made, records = Random(seed), Repository(f"r{seed}"), []
    for number in range(commits):
        paths = [f"{random.choice(('a.b', 'a.b.c', 'a-b'))}/{random.randrange(30)}" for _ in range(6)]
        changes = {
            path: None if path in made.records and random.random() < 0.3 else {"n": number, "text": "\u00e4"}
            for path in paths
        }
        records.append(word(committed(made.commit(changes))))
    return made, records


# records


def test_what_a_commit_tells_is_what_is_stored(database: sa.Engine) -> None:
    without = Op(Action.CREATE, "a.b", "2", CID, problem="record_too_large")
    ops = (put("1", b'{"text":"\xc3\xa4"}'), without, put("3"))
    store(database, Commits, word(commit(*ops)), word(commit(Op(Action.DELETE, "a.b", "3"), rev=REV[1], cid=OTHER_CID)))
    columns = "rkey, revision, rev, cid, deleted, problem, host, seq, fetched_revision"
    first = (tid_number(REV[0]), REV[0], CID, 0)
    assert query(database, f"SELECT {columns} FROM atproto_records ORDER BY rkey") == [
        ("1", *first, "", HOST, 7, None),
        ("2", *first, "record_too_large", HOST, 7, None),
        ("3", tid_number(REV[1]), REV[1], None, 1, "", HOST, 7, None),
    ]
    with database.connect() as connection:
        values = connection.execute(sa.select(schema.atproto_records.c.value).order_by(schema.atproto_records.c.rkey))
        assert values.scalars().all() == [{"text": "ä"}, None, None]
    assert query(database, "SELECT did, rev, cid, data, host FROM atproto_repos") == [
        (DID, REV[1], OTHER_CID, CID, HOST)
    ]


@pytest.mark.parametrize(
    "event",
    [
        Sync(DID, REV[0], HOST, CID, CID),
        Fetched(DID, HOST, 3, AT, problem="gone"),
        Account(DID, HOST, active=False, status="takendown"),
    ],
)
def test_what_is_no_commit_changes_nothing(database: sa.Engine, event: object) -> None:
    store(database, Commits, word(event))
    assert not any(dump(database, *TABLES).values())


@pytest.mark.parametrize("seed", range(3))
def test_commits_and_snapshots_end_in_the_same_rows_on_both_databases(database: sa.Engine, seed: int) -> None:
    random, made, records = Random(seed), *repository(seed)
    snapshot = fetch(made, 50).records(lines_each=5)
    last = word(committed(made.commit({"a.b/new": {"n": 1}, next(iter(made.records)): None})))
    for batch in (records, snapshot, [last]):
        store(database, Snapshots if batch is snapshot else Commits, *batch)
    expected = dump(database, *TABLES)
    with database.begin() as connection:
        empty(connection, TOGETHER[0])
    sent = [*random.sample(records, 8), last, *records]
    random.shuffle(sent)
    middle = len(sent) // 2
    store(database, Commits, *sent[:middle])
    store(database, Snapshots, *snapshot[:2])
    store(database, Commits, *sent[middle:])
    store(database, Snapshots, *snapshot, *snapshot)
    assert dump(database, *TABLES) == expected
    live = query(database, "SELECT collection || '/' || rkey FROM atproto_live_records")
    assert {path for (path,) in live} == made.records.keys()


def test_a_part_takes_nothing_away_where_it_has_not_all_of_any_collection(database: sa.Engine) -> None:
    made, records = repository()
    store(database, Commits, *records)
    before = query(database, "SELECT count(*) FROM atproto_live_records")
    store(database, Snapshots, *fetch(made, 60, ["a.b"], leaves_out="1").records())
    assert query(database, "SELECT count(*) FROM atproto_live_records") == before
    assert query(database, "SELECT fetched_revision FROM atproto_repos") == [(None,)]
    assert query(database, "SELECT attempt, whole FROM atproto_snapshots") == [(60, 0)]


def test_what_is_not_in_a_collection_that_was_fetched_is_gone_and_stays_so(database: sa.Engine) -> None:
    made = Repository(DID.rpartition(":")[2])
    first = word(committed(made.commit({"a.b/1": {"n": 1}, "a.b/2": {"n": 2}, "a.c/1": {"n": 3}, "b/1": {"n": 4}})))
    made.commit({"a.b/1": None, "b/1": None})
    part = fetch(made, 60, ["a.*"])
    live = "SELECT collection, rkey FROM atproto_live_records ORDER BY 1, 2"
    store(database, Commits, first)
    store(database, Snapshots, *part.records())
    assert query(database, live) == [("a.b", "2"), ("a.c", "1"), ("b", "1")], "nobody has looked at b"
    expected = dump(database, *TABLES)
    store(database, Commits, first)
    store(database, Snapshots, *fetch(made, 61, ["a.*", "b"]).records())
    assert query(database, live) == [("a.b", "2"), ("a.c", "1")]
    with database.begin() as connection:
        empty(connection, TOGETHER[0])
    store(database, Snapshots, *part.records())
    store(database, Commits, first)
    assert dump(database, *TABLES) == expected


# what keeps no contract


UNUSABLE = [
    pytest.param(put("x", collection="a/b"), id="a path of three parts"),
    pytest.param(put("a\x00b"), id="a key with a NUL"),
    pytest.param(put("x", cid="bafy"), id="no CID"),
    pytest.param(put("x", cid=""), id="none at all"),
    pytest.param(put("x", b"[1]"), id="a record that is no object"),
]


@pytest.mark.parametrize("op", UNUSABLE)
def test_one_operation_that_is_none_is_refused_alone(op: Op) -> None:
    sink = Commits(make_writer(sa.create_engine("sqlite://")))
    found = sink.decode(word(commit(put("1"), op, put("2"))))
    [refusal] = found.refused
    assert atproto.decode_commit(refusal.payload) == commit(op)
    assert (refusal.position, found.source, len(found.entries)) == (7, f"firehose:{HOST}", 3)


BAD_RECORDS = [
    pytest.param(word(commit(rev="3")), id="a revision that is no TID"),
    pytest.param(word(commit(), key="did:plc:other"), id="a key that is another's"),
    pytest.param(word(commit(seq=1 << 70)), id="a number that no database holds"),
    pytest.param(word(commit(time="yesterday")), id="a time that is none"),
    pytest.param(Record(0, 0, DID.encode(), None, []), id="no value"),
]


@pytest.mark.parametrize("record", BAD_RECORDS)
def test_a_commit_that_keeps_no_contract_is_refused_as_a_whole(record: Record) -> None:
    with pytest.raises(ContractError):
        Commits(make_writer(sa.create_engine("sqlite://"))).decode(record)


def test_what_no_database_holds_is_shown_and_what_one_refuses_takes_nothing_with_it(database: sa.Engine) -> None:
    sink = Commits(make_writer(database))
    ops = (put("1", b'{"a":"x\\u0000"}'), put("2", b'{"n":1e200000}'), put("3", b'{"a":"\\ud83d\\ude00"}'))
    with database.begin() as connection:
        entries = sink.decode(word(commit(*ops))).entries
        _, reasons = write_isolating(connection, entries, sink.write)
        table = schema.atproto_records
        found = connection.execute(sa.select(table.c.rkey, table.c.value, table.c.problem).order_by(table.c.rkey))
        stored = {rkey: (value, problem) for rkey, value, problem in found}
    assert stored["1"] == ({"a": "x\\u0000"}, "escaped")
    assert stored["3"] == ({"a": "😀"}, "")
    assert ("2" in stored) == (not reasons) == (database.dialect.name == "sqlite")


# words


def test_of_each_host_the_newest_word_on_an_account_counts(database: sa.Engine) -> None:
    later = AT.replace("04:08", "04:09")
    said = [
        Account(DID, "old.test", active=True, seq=1, time=AT),
        Account(DID, "old.test", active=False, seq=2, time=AT, status="deactivated\x00"),
        Account(DID, "new.test", active=True, seq=9, time=later),
        Account(DID, "odd.test", active=False, status="odd"),
    ]
    store(database, Commits, word(commit(put("1"))))
    store(database, Accounts, *map(word, reversed(said)))
    for one in said:
        store(database, Accounts, word(one))
    assert query(database, "SELECT host, active, status, revision = 1 FROM atproto_accounts ORDER BY host") == [
        ("new.test", 1, "", 0),
        ("odd.test", 0, "odd", 1),
        ("old.test", 0, "deactivated\\u0000", 0),
    ]
    assert query(database, "SELECT rkey FROM atproto_live_records") == [("1",)], "it moved"
    gone = Account(DID, "new.test", active=False, seq=10, time=later, status="deleted")
    store(database, Accounts, word(gone))
    assert query(database, "SELECT rkey FROM atproto_live_records") == []


def test_the_newest_word_on_an_identity_counts(database: sa.Engine) -> None:
    said = [Identity(DID, HOST, 1, AT, "a.test"), Identity(DID, HOST, 2, AT, "b.test"), Identity(DID, HOST, 3)]
    store(database, Identities, *map(word, said))
    store(database, Identities, *map(word, reversed(said)))
    assert query(database, "SELECT did, handle, seq FROM atproto_identities") == [(DID, "b.test", 2)]


def label(**more: object) -> Label:
    fields: dict[str, object] = {"src": "did:plc:l", "uri": f"at://{DID}/a.b/1", "val": "spam", "cts": AT, "sig": b"1"}
    return Label(**(fields | more))  # type: ignore[arg-type]


def test_of_labels_the_newest_counts_in_any_order_and_each_is_kept(database: sa.Engine) -> None:
    later, past = AT.replace("04:08", "04:09"), AT.replace("2026", "2020")
    said = [
        label(),
        label(neg=True, sig=b"2"),
        label(val="rude", sig=b"3"),
        label(val="rude", sig=b"4", cts=later, exp=past),
        label(uri=DID, sig=b"\x00\xff", neg=False, ver=1),
        label(uri=DID, cid=CID, cts="2026-11-23T04:08:00Z", exp="2999-01-01T00:00:00Z"),
    ]
    for seed in range(3):
        Random(seed).shuffle(said)
        for one in (*said, said[0]):
            store(database, Labels, word(one, key=one.uri))
    assert query(database, "SELECT count(*) FROM atproto_label_history") == [(6,)]
    kept = query(database, "SELECT uri, val, cid, neg, did FROM atproto_labels ORDER BY uri, val, cid")
    assert kept == [
        (f"at://{DID}/a.b/1", "rude", "", 0, DID),
        (f"at://{DID}/a.b/1", "spam", "", 1, DID),
        (DID, "spam", "", 0, DID),
        (DID, "spam", CID, 0, DID),
    ]
    assert query(database, "SELECT uri, cid, cts FROM atproto_current_labels ORDER BY cid") == [
        (DID, "", AT),
        (DID, CID, "2026-11-23T04:08:00Z"),
    ]
    told = query(database, "SELECT neg, ver, cid FROM atproto_label_history WHERE uri = '" + DID + "' ORDER BY ver")
    assert sorted(told, key=repr) == sorted([(None, None, CID), (0, 1, None)], key=repr)


def test_a_notice_that_comes_again_is_the_same(database: sa.Engine) -> None:
    gap = Notice(HOST, "subscribeRepos", NoticeKind.GAP, AT, "went on\x00", before=3, after=9)
    store(database, Notices, word(gap), word(gap), word(msgspec.structs.replace(gap, after=10)))
    store(database, Notices, word(gap))
    found = query(database, "SELECT kind, action, before_seq, after_seq FROM atproto_notices ORDER BY after_seq")
    assert found == [("gap", "went on\\u0000", 3, 9), ("gap", "went on\\u0000", 3, 10)]


def test_how_a_repository_stands_is_the_last_word(database: sa.Engine) -> None:
    said = [
        Standing(DID, RepositoryState.DESYNCHRONISED, problem="gap\x00", fetches=2, changed_at=AT),
        Standing(DID, RepositoryState.SYNCHRONISED, rev=REV[2], data=CID, changed_at=AT),
    ]
    store(database, Repositories, word(said[1]), word(said[0]))
    assert query(database, "SELECT state, known_rev, problem, fetches FROM atproto_repos") == [
        ("desynchronised", "", "gap\\u0000", 2)
    ]
    store(database, Repositories, word(said[1]))
    store(database, Commits, word(commit()))
    assert query(database, "SELECT state, known_rev, problem, rev FROM atproto_repos") == [
        ("synchronised", REV[2], "", REV[0])
    ]


# looks


def ask(engine: sa.Engine, did: str, stage: str, attempt: int) -> Look:
    return look(Question(load_settings(), engine, did, stage, attempt, attempt), INSPECTION.looks)


def test_the_root_of_the_rows_is_the_one_that_was_signed_whatever_comes_later(database: sa.Engine) -> None:
    made, records = repository(5)
    store(database, Commits, *records)
    whole = fetch(made, 7)
    store(database, Snapshots, *whole.records())
    later = made.commit({next(iter(made.records)): None, "a.b/later": {"n": 1}, "a-b/1": {"n": 2}})
    store(database, Commits, word(committed(later)))
    count = whole.end.records
    assert ask(database, made.did, PERSISTED, 7) == Look({"records": count})
    assert ask(database, made.did, VERIFIED, 7) == Look({"records": count, "stale": 0}, f"root:{whole.end.data}")
    assert "gave way to that of attempt 7" in ask(database, made.did, VERIFIED, 6).detail
    assert "has no snapshot of attempt 8" in ask(database, made.did, PERSISTED, 8).detail
    spoil = "UPDATE atproto_records SET fetched_revision = NULL WHERE revision = fetched_revision AND rkey = (%s)"
    with database.begin() as connection:
        some = "SELECT min(rkey) FROM atproto_records WHERE revision = fetched_revision"
        connection.execute(sa.text(spoil % some))
    seen = ask(database, made.did, VERIFIED, 7)
    assert seen.found["records"] < count
    assert seen.found["stale"] > 0
    assert seen.digest != f"root:{whole.end.data}"


def test_of_a_part_the_lines_are_compared(database: sa.Engine) -> None:
    made, _ = repository(6)
    store(database, Snapshots, *fetch(made, 3).records())
    part = fetch(made, 4, ["a.b", "a-b"])
    store(database, Snapshots, *part.records())
    lines = sorted(
        f"{line.collection}/{line.rkey} {line.cid}\n".encode() for line in part.lines if isinstance(line, Stored)
    )
    digest = xxhash.xxh3_64_hexdigest(b"".join(lines))
    assert ask(database, made.did, VERIFIED, 4) == Look({"records": len(lines), "stale": 0}, f"lines:{digest}")
    assert ask(database, made.did, PERSISTED, 4) == Look({"records": len(lines)})


def test_an_empty_repository_has_a_root_too(database: sa.Engine) -> None:
    made = Repository("empty")
    made.commit({"a.b/1": {"n": 1}})
    made.commit({"a.b/1": None})
    store(database, Snapshots, *fetch(made, 1).records())
    assert ask(database, made.did, VERIFIED, 1) == Look({"records": 0, "stale": 0}, f"root:{CID}")


# from Kafka


def test_a_line_of_a_snapshot_that_is_none_is_a_dead_letter_alone(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    made, _ = repository()
    good = fetch(made, 9)
    lines = [
        atproto.encode(good.lines[0]),
        b'{"line":"record"}',
        atproto.encode(Stored("a", "b/c", CID)),
        atproto.encode(End(CID, CID, 1 << 70)),
        atproto.encode(good.lines[1]),
    ]
    slice_ = good.slice(lines, low=100)
    topic = place.kafka.topic(atproto.SNAPSHOTS)
    with running(place, Snapshots.name, "dead_letters"):
        for headers in (slice_.headers, [h for h in slice_.headers if h[0] != "rev"]):
            publisher.send(topic, key=slice_.key, value=slice_.value or b"", headers=headers)
        publisher.flush()
        letters = "SELECT source_id, source_offset, origin FROM dead_letter_events WHERE reason <> :r ORDER BY 2"
        wait_for_rows(
            engine,
            letters.replace(":r", f"'{NO_RECORD}'"),
            *((made.did, 100 + place_, Snapshots.name) for place_ in (1, 2, 3)),
        )
        wait_for_rows(engine, f"SELECT count(*) FROM dead_letter_events WHERE reason = '{NO_RECORD}'", (1,))
    assert query(engine, "SELECT count(*) FROM atproto_records") == [(2,)]


def test_from_kafka_to_rows_observation_look_and_again_from_its_beginning(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    made, records = repository(9)
    whole = fetch(made, 12)

    def send(topic: Topic, *found: Record) -> None:
        for one in found:
            publisher.send(place.kafka.topic(topic), key=one.key, value=one.value or b"", headers=one.headers)

    send(atproto.COMMITS, *records, Record(0, 0, made.did.encode(), b"{}", []))
    send(atproto.SNAPSHOTS, *whole.records(lines_each=4))
    send(atproto.REPOSITORIES, word(Standing(made.did, RepositoryState.SYNCHRONISED, rev=whole.rev)))
    send(atproto.ACCOUNTS, word(Account(made.did, HOST, active=True)))
    publisher.flush()
    live, lines = len(made.records), len(whole.lines)

    def observed() -> int:
        said = [e for e in stage_events(place) if isinstance(e, Observed) and e.observer == Snapshots.name]
        return max((p.inserted for e in said if e.source == made.did for p in e.partitions.values()), default=0)

    with running(place, *TOGETHER[0], Accounts.name):
        wait_for_rows(engine, "SELECT count(*) FROM atproto_live_records", (live,))
        wait_for_rows(engine, "SELECT state, fetched_attempt FROM atproto_repos", ("synchronised", 12))
        eventually(observed, until=lambda seen: seen == lines)
        wait_for_rows(engine, f"SELECT rev FROM atproto_repos WHERE rev = '{made.rev}'", (made.rev,))
    before = dump(engine, *TABLES)
    with engine.begin() as connection:
        empty(connection, TOGETHER[0])
    command = Command(
        made.did, atproto.REPOSITORY_KIND, made.did, VERIFIED, 12, projection_id(engine), AT, look=True, run=12
    )
    publisher.send(place.kafka.topic(STAGE_COMMANDS), key=made.did.encode(), value=stages.encode(command))
    publisher.flush()

    def reports() -> list[Reported]:
        return [event for event in stage_events(place) if isinstance(event, Reported)]

    with running(place, *TOGETHER[0]), verifying(place):
        [report] = eventually(reports, until=lambda seen: len(seen) == 1)
        eventually(lambda: dump(engine, *TABLES), until=lambda seen: seen == before)
    assert (report.found, report.digest) == ({"records": whole.end.records, "stale": 0}, f"root:{whole.end.data}")


def test_two_sinks_at_once_never_leave_what_a_snapshot_does_not_have(
    place: Settings, engine: sa.Engine, publisher: Publisher
) -> None:
    """Late commits of many repositories race their snapshots: what is there in the end is what is in the snapshots."""
    topic = place.kafka.topic
    made = [repository(seed, 4) for seed in range(20, 40)]
    with running(place, *TOGETHER[0]):
        for one, records in made:
            for found in fetch(one, 5).records(lines_each=2):
                publisher.send(topic(atproto.SNAPSHOTS), key=found.key, value=found.value or b"", headers=found.headers)
            for found in records:
                publisher.send(topic(atproto.COMMITS), key=found.key, value=found.value or b"")
        publisher.flush()
        wait_for_rows(
            engine, "SELECT count(*) FROM atproto_repos WHERE rev = fetched_rev AND fetched_attempt = 5", (len(made),)
        )
    live = query(engine, "SELECT did, collection || '/' || rkey FROM atproto_live_records")
    assert set(live) == {(one.did, path) for one, _ in made for path in one.records}
