"""What `tally sources` shows of sources that end, and of those that don't."""

import io

import msgspec
from rich.console import Console
from rich.table import Table

from sinks.standing import Crowd, LiveStanding, SourceStanding, StageStanding
from tallystick.cli.sources import crowd_line, standings_table, streams_table
from tallystick.contracts.atproto import FIREHOSE_KIND, LABELS_KIND, LISTING_KIND, REPOSITORY_KIND
from tallystick.contracts.cowrie import KAFKA_KIND, KIND
from tallystick.contracts.stages import Verdict

NOW = "2026-11-23T00:01:00.000000Z"


def stage(name: str, verdict: Verdict | None = None, *, claimed: int = 0, observed: int = 0) -> StageStanding:
    reason = "no word" if verdict is Verdict.FAILED else ""
    return StageStanding(name, 1, verdict, reason, claimed, observed, started_at="", ended_at="")


def standing(kind: str, *stages: StageStanding) -> SourceStanding:
    return SourceStanding(
        source="s",
        kind=kind,
        name="cowrie/0\x1b[2J",
        attempt=1,
        lines=0,
        events=0,
        dead_letters=0,
        bytes=0,
        stages=list(stages),
        heard_at="2026-11-23T00:00:55.000000Z",
    )


def text(table: Table) -> list[list[str]]:
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    return [line.split() for line in out.getvalue().splitlines()]


def test_an_endless_source_shows_cursor_lag_and_sign_of_life() -> None:
    following = standing(KAFKA_KIND, stage("followed", claimed=4_536, observed=3_108), stage("persisted"))
    silent = standing(KAFKA_KIND, stage("followed", Verdict.FAILED, claimed=5, observed=5), stage("persisted"))
    _, first, second = text(streams_table([following, silent], now=NOW))
    assert first[1:] == ["3,108", "4,536", "1,428", "5", "s", "ago", "following"]
    assert second[-1] == "failed"
    assert "\x1b" not in first[0]
    assert silent.trouble == "followed: failed: no word"


def test_an_endless_source_that_was_read_to_an_end_is_shown_as_one_that_ends() -> None:
    assert standing(KAFKA_KIND, stage("followed", Verdict.SUCCEEDED), stage("persisted")).followed is None
    assert standing(KAFKA_KIND).followed is None
    assert standing(KIND, stage("read")).followed is None


def test_streams_of_several_kinds_are_told_apart_and_those_behind_say_by_how_much() -> None:
    live = LiveStanding(position=90, behind=10, seconds_behind=2.54, heard_at=NOW)
    firehose = standing(FIREHOSE_KIND, stage("followed", claimed=100, observed=90))
    labels = standing(LABELS_KIND, stage("followed", claimed=5, observed=5))
    header, first, second = text(streams_table([msgspec.structs.replace(firehose, live=live), labels], now=NOW))
    assert header == ["kind", "stream", "at", "end", "behind", "lag", "heard", "state"]
    assert (first[0], first[2:7]) == (FIREHOSE_KIND, ["90", "100", "10", "2.5", "s"])
    assert (second[0], second[5]) == (LABELS_KIND, "-")


def test_sources_of_several_kinds_are_told_apart() -> None:
    fetched = standing(REPOSITORY_KIND, stage("fetched", Verdict.SUCCEEDED), stage("persisted"), stage("verified"))
    header, first, second = text(standings_table([fetched, standing(LISTING_KIND, stage("listed", Verdict.FAILED))]))
    assert header == [
        "kind",
        "source",
        "lines",
        "events",
        "dead",
        "fetched",
        "persisted",
        "verified",
        "listed",
        "verdict",
    ]
    assert (first[0], first[-1]) == (REPOSITORY_KIND, "running")
    assert (second[0], second[-1]) == (LISTING_KIND, "failed")


def test_of_a_crowd_all_are_counted() -> None:
    assert crowd_line(Crowd(REPOSITORY_KIND, 40_000_000, 39_999_000, 900, [])) == (
        "atproto.repository: 40,000,000 sources, of which 39,999,000 succeeded, 900 failed, 100 are at work;"
        " 0 that have not succeeded are shown"
    )
