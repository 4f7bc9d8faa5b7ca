"""`tally atproto …`: what is refused, which roles it runs, how it knows that a backfill is over."""

import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from producers.atproto.hosts import host_of
from sinks.schema import metadata, source_stages, sources
from tallystick.cli.atproto.asking import Asked, Mode, hosts_of, with_asked
from tallystick.cli.atproto.backfill import exit_code, print_result
from tallystick.cli.atproto.counting import Counts, Trouble, Wanted, read_counts, read_missing, read_troubles
from tallystick.cli.atproto.fetching import BackfillResult, Listed, Listening
from tallystick.cli.atproto.looking import (
    NOTICE_COLUMNS,
    REPOSITORY_COLUMNS,
    read_notices,
    read_repositories,
    read_states,
)
from tallystick.cli.atproto.passing import Course, Hop
from tallystick.cli.atproto.planning import SINK_PROCESSES, plan_of
from tallystick.cli.progress import LineView
from tallystick.cli.service import Plan, hopeless
from tallystick.contracts.atproto import REPOSITORY_KIND, RepositoryState
from tallystick.errors import UsageError
from tallystick.settings import AtprotoSettings, DatabaseSettings, KafkaSettings, Settings
from tallystick.supervision.exits import Exit, ExitReason
from tallystick.supervision.restarting import RoleSpec

RELAY, PDS, LABELER = (host_of(url) for url in ("bsky.network", "http://127.0.0.1:2583", "labels.example"))
DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
SETTINGS = Settings.model_construct(
    home=Path("/home"),
    kafka=KafkaSettings(bootstrap_servers="kafka:9092"),
    database=DatabaseSettings(url=SecretStr("sqlite:////tally.db")),
    atproto=AtprotoSettings(),
)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        pytest.param(Asked(Mode.FIREHOSE), "no host is named", id="a firehose of nobody"),
        pytest.param(Asked(Mode.ALL, labelers=(LABELER,)), "no host is named", id="all of nobody"),
        pytest.param(Asked(Mode.LABELER, hosts=(RELAY,)), "no labeler", id="labels of nobody"),
        pytest.param(Asked(Mode.BACKFILL), "nothing is named", id="a backfill of nothing"),
        pytest.param(Asked(Mode.FIREHOSE, (RELAY,), begin="first"), "--from takes", id="a wrong beginning"),
        pytest.param(Asked(Mode.FIREHOSE, (RELAY,), begin="0"), "--from takes", id="numbers begin with 1"),
        pytest.param(Asked(Mode.FIREHOSE, (RELAY,), begin=str(2**53)), "--from takes", id="a number no host has"),
        pytest.param(Asked(Mode.FIREHOSE, (RELAY, PDS), begin="7"), "one host only", id="one number for two hosts"),
        pytest.param(Asked(Mode.BACKFILL, (RELAY,), since_rev="3"), "--since-rev", id="a wrong revision"),
        pytest.param(Asked(Mode.BACKFILL, dids=("did:plc:\x1b",)), r"\\x1b", id="a hostile DID is escaped"),
        pytest.param(Asked(Mode.BACKFILL, (RELAY, PDS), dids=(DID,)), "one --host", id="accounts of two hosts"),
        pytest.param(Asked(Mode.FIREHOSE, (RELAY,), languages=("german!",)), "--language", id="a wrong language"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_starts(asked: Asked, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        asked.check()


def test_what_is_asked_for_outranks_the_configuration_here_and_in_the_roles() -> None:
    asked = Asked(Mode.FIREHOSE, (RELAY,), dids=(DID,), collections=("app.bsky.*",), languages=("de",))
    asked.check()
    found = with_asked(SETTINGS, asked, metrics_port=0)
    assert (found.atproto.dids, found.atproto.collections, found.atproto.languages) == (
        (DID,),
        ("app.bsky.*",),
        ("de",),
    )
    assert found.metrics.port == 0
    [reader] = plan_of(found, asked, follows=True).readers
    assert reader.env["TALLY_ATPROTO__COLLECTIONS"] == '["app.bsky.*"]'
    with pytest.raises(UsageError, match="collections"):
        with_asked(SETTINGS, Asked(Mode.FIREHOSE, (RELAY,), collections=("a b",)), metrics_port=None)


def test_a_host_is_taken_once_however_it_is_written() -> None:
    assert [host.name for host in hosts_of(["bsky.network", "wss://BSKY.network/", "http://127.0.0.1:2583"])] == [
        "bsky.network",
        "127.0.0.1:2583",
    ]


SHARED = {"atproto/agents", "atproto/verifier", *(f"atproto/{name}" for name in SINK_PROCESSES)}
FETCHER = {"atproto/fetcher"}
MANY = SHARED | FETCHER | {"atproto/verifier-2"}


@pytest.mark.parametrize(
    ("asked", "follows", "readers", "shared"),
    [
        pytest.param(
            Asked(Mode.FIREHOSE, (RELAY, PDS), begin="live"),
            True,
            {
                "atproto/firehose/bsky.network": "atproto-firehose --host=wss://bsky.network --from=live",
                "atproto/firehose/127.0.0.1:2583": "atproto-firehose --host=ws://127.0.0.1:2583 --from=live",
            },
            SHARED | FETCHER,
            id="a firehose a host, and fetchers for what was missed",
        ),
        pytest.param(
            Asked(Mode.LABELER, labelers=(LABELER,)),
            True,
            {"atproto/labeler/labels.example": "atproto-labeler --host=wss://labels.example"},
            SHARED,
            id="labels have no repositories",
        ),
        pytest.param(
            Asked(Mode.BACKFILL, (RELAY,), collections=("a.b",), since_rev="3mcuq2xqd2k2a"),
            False,
            {
                "atproto/lister/bsky.network": "atproto-lister --host=https://bsky.network --collection=a.b "
                "--since-rev=3mcuq2xqd2k2a"
            },
            MANY,
            id="a backfill",
        ),
        pytest.param(
            Asked(Mode.BACKFILL, dids=(DID,)),
            False,
            {"atproto/lister/accounts": f"atproto-lister --did={DID}"},
            MANY,
            id="accounts, from their own hosts",
        ),
        pytest.param(
            Asked(Mode.BACKFILL, (PDS,), dids=(DID,), ingest_only=True),
            False,
            {"atproto/lister/accounts": f"atproto-lister --host=http://127.0.0.1:2583 --did={DID}"},
            FETCHER,
            id="accounts of one host, into Kafka only",
        ),
        pytest.param(
            Asked(Mode.ALL, (RELAY,), (LABELER,)),
            True,
            {
                "atproto/firehose/bsky.network": "atproto-firehose --host=wss://bsky.network",
                "atproto/labeler/labels.example": "atproto-labeler --host=wss://labels.example",
                "atproto/lister/bsky.network": "atproto-lister --host=https://bsky.network --again",
            },
            MANY,
            id="all",
        ),
        pytest.param(
            Asked(Mode.ALL, (RELAY,), dids=(DID,)),
            True,
            {
                "atproto/firehose/bsky.network": "atproto-firehose --host=wss://bsky.network",
                "atproto/lister/accounts": f"atproto-lister --did={DID}",
            },
            MANY,
            id="all of some accounts",
        ),
    ],
)
def test_there_is_one_process_a_mode_and_host(
    asked: Asked, follows: bool, readers: dict[str, str], shared: set[str]
) -> None:
    asked.check()
    plan = plan_of(SETTINGS, asked, follows=follows)
    assert {spec.path: " ".join(spec.argv[3:]) for spec in plan.readers} == readers
    assert {spec.path for spec in plan.shared} == shared
    assert {spec.max_restarts for spec in (*plan.readers, *plan.shared)} == {None if follows else 5}
    assert plan.policy.longest_seconds == (60 if follows else 10)
    endless = [spec for spec in plan.readers if follows and "--did" not in " ".join(spec.argv)]
    assert not any(spec.one_shot for spec in (*endless, *plan.shared))
    assert follows or all(spec.one_shot for spec in plan.readers)
    assert all("/" not in spec.name and ":" not in spec.name for spec in plan.readers)


def test_without_resynchronisation_a_firehose_fetches_nothing() -> None:
    settings = SETTINGS.model_copy(update={"atproto": AtprotoSettings(resync="off")})
    plan = plan_of(settings, Asked(Mode.FIREHOSE, (RELAY,)), follows=True)
    assert {spec.path for spec in plan.shared} == SHARED


def test_a_service_feeds_redis_where_one_is_named() -> None:
    settings = SETTINGS.model_copy(update={"atproto": AtprotoSettings(redis_url=SecretStr("redis://localhost"))})
    assert "atproto/redis" in {spec.path for spec in plan_of(settings, Asked(Mode.ALL, (RELAY,)), follows=True).shared}
    done = plan_of(settings, Asked(Mode.BACKFILL, (RELAY,)), follows=False)
    assert "atproto/redis" not in {spec.path for spec in done.shared}


def gone(role: str, code: int = 78) -> Exit:
    return Exit(role, 1, ExitReason.FAILED, code, "", "2026-11-26T10:00:00.000000Z", 1.0, "")


@pytest.mark.parametrize(
    ("failed", "active", "ends_with"),
    [
        pytest.param({}, {"agents", "a", "b"}, None, id="all is well"),
        pytest.param({"agents": 78}, {"a", "b"}, "agents", id="without a shared role nothing works"),
        pytest.param({"a": 78}, {"agents", "b"}, None, id="one host of two"),
        pytest.param({"a": 78, "b": 2}, {"agents"}, "b", id="the last of them"),
        pytest.param({"a": 78}, {"agents"}, "a", id="one was given up, and the other is done"),
        pytest.param({"a": 3, "b": 3}, {"agents"}, None, id="one-shots that told what failed have done their work"),
    ],
)
def test_a_service_goes_on_as_long_as_that_is_of_use(
    failed: dict[str, int], active: set[str], ends_with: str | None
) -> None:
    plan = Plan(shared=(RoleSpec("agents", ()),), readers=(RoleSpec("a", ()), RoleSpec("b", ())))
    ending = hopeless(plan, {role: gone(role, code) for role, code in failed.items()}, active)
    assert (ending.role if ending else None) == ends_with
    assert ending is None or ending.code == failed[ending.role]


def test_what_follows_is_waited_for_hop_by_hop() -> None:
    here, there = ("topic", 0), ("topic", 1)
    at = {"first": {here: 0, there: 5}, "second": {here: 7}}
    ends = {"first": {here: 3, there: 5}, "second": {here: 7}}

    def hop(name: str) -> Hop:
        return Hop(name, lambda: dict(ends[name]), lambda: dict(at[name]))

    course = Course([hop("first"), hop("second")])
    assert (course.look(), course.waits_for) == (False, "first")
    ends["first"][here], ends["second"][here] = 9, 8
    at["first"][here] = 3
    assert (course.look(), course.waits_for) == (False, "second"), "what came after the look doesn't count"
    at["second"][here] = 8
    assert (course.look(), course.waits_for) == (True, "")


@pytest.fixture
def database() -> sa.Engine:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine, tables=[sources, source_stages])
    stand(engine, "did:a", 10, "succeeded", "succeeded", "succeeded")
    stand(engine, "did:b", 10, "failed")
    stand(engine, "did:c", 10, "succeeded", "mismatch", reason="2 of 3 records")
    stand(engine, "did:d", 11, "succeeded", "succeeded", None)
    stand(engine, "did:e", 20, None)
    stand(engine, "did:f", 9, "failed")
    stand(engine, "a log", 10, "failed", kind="cowrie.log")
    return engine


def stand(
    engine: sa.Engine, did: str, attempt: int, *verdicts: str | None, kind: str = REPOSITORY_KIND, reason: str = "?"
) -> None:
    with engine.begin() as connection:
        source = {"source_id": did, "revision": 1, "kind": kind, "name": did, "attempt": attempt}
        connection.execute(sources.insert().values(**source, claimed_attempt=0, confirmed_attempt=0))
        for ordinal, verdict in enumerate(verdicts):
            stage = ("fetched", "persisted", "verified")[ordinal]
            row = {"source_id": did, "stage": stage, "ordinal": ordinal, "attempt": attempt, "verdict": verdict}
            connection.execute(source_stages.insert().values(**row, reason=reason, claimed=0, observed=0, evidence={}))


def test_repositories_of_this_backfill_are_counted_by_their_ends(database: sa.Engine) -> None:
    with database.connect() as connection:
        counts = read_counts(connection, Wanted(since=10, until=19))
        assert counts == Counts(
            repositories=4,
            judged={"fetched": 4, "persisted": 3, "verified": 1},
            succeeded=1,
            failed=1,
            mismatch=1,
        )
        assert counts.pending == 1
        assert read_counts(connection, Wanted(sources=("did:e", "did:f"))).pending == 1
        assert read_counts(connection, Wanted(since=30)) == Counts(judged=dict.fromkeys(counts.judged, 0))


def test_of_what_did_not_succeed_the_first_are_told(database: sa.Engine) -> None:
    with database.connect() as connection:
        wanted = Wanted(since=10)
        assert read_troubles(connection, wanted) == [
            Trouble("did:b", "fetched", "failed", "?"),
            Trouble("did:c", "persisted", "mismatch", "2 of 3 records"),
        ]
        assert len(read_troubles(connection, wanted, most=1)) == 1
        assert read_missing(connection, ["did:a", "did:x"]) == ["did:x"]


def test_an_operator_sees_repositories_by_their_state_and_the_newest_notices() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        for name, columns in (("atproto_repos", REPOSITORY_COLUMNS), ("atproto_notices", NOTICE_COLUMNS)):
            names = ", ".join(column.name for column in columns)
            connection.execute(sa.text(f"CREATE TABLE {name} ({names})"))
        for did, state in (("did:b", "failed"), ("did:a", "failed"), ("did:c", None), ("did:d", "synchronised")):
            connection.execute(
                sa.text("INSERT INTO atproto_repos (did, state) VALUES (:a, :b)"), {"a": did, "b": state}
            )
        for at, host in (("1", "a"), ("3", "b"), ("2", "a")):
            connection.execute(sa.text("INSERT INTO atproto_notices (at, host) VALUES (:a, :b)"), {"a": at, "b": host})
    with engine.connect() as connection:
        assert read_states(connection) == {"failed": 2, "synchronised": 1, "unknown": 1}
        failed = read_repositories(connection, RepositoryState.FAILED, limit=9)
        assert [row["did"] for row in failed] == ["did:a", "did:b"]
        assert len(read_repositories(connection, None, limit=3)) == 3
        assert [row["at"] for row in read_notices(connection, None, limit=2)] == ["3", "2"]
        assert [row["at"] for row in read_notices(connection, "a", limit=9)] == ["2", "1"]


def test_listers_are_heard_and_what_nobody_understands_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    listening = Listening(LineView(sys.stdout))
    for text in (
        '{"progress": {"host": "a", "source": "s", "attempt": 1, "repositories": 5, "trouble": "429\\u001b"}}',
        '{"progress": {"host": "a", "source": "s", "attempt": 1, "repositories": 2, "trouble": "429\\u001b"}}',
        "no JSON",
        '{"outcome": {"did": "did:plc:x", "source": "did:plc:x"}}',
        '{"outcome": {"host": "a", "source": "s", "attempt": 1, "state": "failed", "counts": {}, "reason": "404"}}',
    ):
        listening.line("lister", text)
    assert listening.lists == {"a": Listed(5, "failed", "404", "429\x1b")}
    assert capsys.readouterr().out.count("a is waited for: 429\\x1b\n") == 1


@pytest.mark.parametrize(
    ("result", "code", "said"),
    [
        pytest.param(
            BackfillResult(Counts(2, succeeded=2), [], [], 1.0), 0, "2 of 2 repositories succeeded", id="all succeeded"
        ),
        pytest.param(BackfillResult(Counts(), [], [], 1.0), 0, "0 of 0", id="a host without repositories"),
        pytest.param(
            BackfillResult(Counts(2, succeeded=1, failed=1), [Trouble("did:x", "fetched", "failed", "\x1b")], [], 1.0),
            1,
            "did:x       fetched  failed   \\x1b",
            id="one failed",
        ),
        pytest.param(BackfillResult(Counts(1), [], [], 1.0), 1, "NOT DONE", id="one has no verdict"),
        pytest.param(
            BackfillResult(Counts(1, succeeded=1), [], ["a: its list: 404"], 1.0), 1, "404", id="a list failed"
        ),
        pytest.param(BackfillResult(Counts(1), [], [], 1.0, interrupted=True), 130, "interrupted", id="interrupted"),
        pytest.param(
            BackfillResult(Counts(), [], [], 1.0, judged=False), 0, "nobody has judged it", id="into Kafka only"
        ),
    ],
)
def test_the_result_says_what_came_of_it(
    capsys: pytest.CaptureFixture[str], result: BackfillResult, code: int, said: str
) -> None:
    print_result(result)
    assert exit_code(result) == code
    assert said in capsys.readouterr().out
