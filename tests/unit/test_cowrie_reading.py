"""What the reader makes of every kind of file, good and bad: a specification without Kafka."""

import bz2
import gzip
import io
import json
import lzma
import os
import random
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import xxhash

from producers.cowrie.decompression import PlainContent
from producers.cowrie.growth import Growth
from producers.cowrie.reading import Reading
from streams.stages.fold import EVERYWHERE, apply
from tallystick.contracts.catalogue import PIPELINES
from tallystick.contracts.sources import log_source_id
from tallystick.contracts.stages import Claimed, Failed, SourceState, StageState, Started, Verdict
from tests.reading_world import World

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def event(number: int, session: str = "s", sensor: str = "vm", **fields: object) -> bytes:
    at = f"2026-11-23T03:{number // 60 % 60:02}:{number % 60:02}.000000Z"
    named = {"eventid": "cowrie.x", "timestamp": at, "session": session, "sensor": sensor, "n": number}
    return json.dumps({**named, **fields}).encode()


EVENTS = [event(number, f"s{number % 3}") for number in range(30)]
LOG = b"".join(line + b"\n" for line in EVENTS)


@pytest.fixture
def world() -> World:
    return World(window_bytes=700)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return old(tmp_path / "cowrie.json", LOG)


def old(path: Path, content: bytes) -> Path:
    """Write a file that nobody writes to any more."""
    path.write_bytes(content)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def stage_read(world: World, source: str) -> tuple[SourceState, StageState]:
    """What the stages agent makes of all that was said about `source`, and how its stage `read` stands."""
    state = SourceState(source)
    for event in world.said():
        if event.source == source:
            apply(state, event, PIPELINES)
    return state, state.projections[EVERYWHERE].stages["read"]


def sent(world: World) -> list[bytes]:
    return [line for _, _, line in world.events()]


class TestAWholeLog:
    def test_every_event_is_sent_once_and_in_order_of_its_session(self, world: World, log: Path) -> None:
        outcome = world.read(log)
        assert outcome.state == "claimed"
        assert sorted(sent(world)) == sorted(EVENTS)
        for name in ("s0", "s1", "s2"):
            assert [line for _, session, line in world.events() if session == name] == EVENTS[int(name[1]) :: 3]

    def test_positions_are_offsets_in_the_content_and_nothing_new_comes_below_low(
        self, world: World, log: Path
    ) -> None:
        world.read(log)
        low = 0
        for _, found in world.slices():
            assert [
                LOG[at : at + len(line)] for at, line in zip(found.positions, found.events, strict=True)
            ] == found.events
            assert low <= found.low <= found.positions[0]
            low = found.low

    def test_the_claim_adds_up_and_names_the_ends(self, world: World, log: Path) -> None:
        outcome = world.read(log)
        [started], [claim] = world.stage_events(Started), world.stage_events(Claimed)
        counts = {"lines": 30, "events": 30, "dead": 0, "blank": 0, "bytes": len(LOG)}
        assert claim.counts == outcome.counts == counts
        assert (claim.source, claim.name, claim.stage, claim.attempt) == (outcome.source, str(log), "read", 1)
        assert claim.digest == xxhash.xxh3_128_hexdigest(LOG)
        assert world.ends_hold(claim)
        assert (started.source, started.attempt) == (claim.source, 1)

    def test_it_is_started_before_and_claimed_after_everything_else(self, world: World, log: Path) -> None:
        world.read(log)
        order = [record.topic for record in world.publisher.log]
        assert order[0] == "stages"
        assert order[-2:] == ["stages", "source.positions"]
        assert order.count("stages") == 2

    def test_checkpoints_never_pass_what_is_acknowledged(self, world: World, log: Path) -> None:
        """Each checkpoint tells of the content before it, and that is sent before it."""
        world.read(log)
        told = 0
        for index, record in enumerate(world.publisher.log):
            if record.topic == "source.positions":
                found = json.loads(record.value)
                before = sum(
                    r.value.count(b"\n") + 1 for r in world.publisher.log[:index] if r.topic == "cowrie.events"
                )
                assert found["events"] <= before
                assert found["digest"] == xxhash.xxh3_128_hexdigest(LOG[: found["position"]])
                told += 1
        assert told >= 2

    def test_progress_begins_and_ends_and_never_passes_the_file(self, world: World, log: Path) -> None:
        outcome = world.read(log)
        first, last = world.progress[0], world.progress[-1]
        assert (first.state, first.position, first.size) == ("reading", 0, len(LOG))
        assert (last.state, last.position, last.bytes_read, last.events) == ("claimed", len(LOG), len(LOG), 30)
        assert all(step.bytes_read <= step.size and step.source == outcome.source for step in world.progress)

    def test_an_event_without_sensor_has_the_one_that_is_given(self, world: World, tmp_path: Path) -> None:
        world.read(old(tmp_path / "a.json", event(1, sensor="") + b"\n" + event(2) + b"\n"), sensor="lab")
        assert [sensor for sensor, _, _ in world.events()] == ["lab", "vm"]


COPIES = [
    pytest.param(bytes, id="a copy under another name"),
    pytest.param(gzip.compress, id="gzip"),
    pytest.param(bz2.compress, id="bzip2"),
    pytest.param(lzma.compress, id="xz"),
    pytest.param(zstd.compress, id="zstd"),
    pytest.param(lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:]), id="gzip of two members"),
]


class TestTheSameAgain:
    def test_a_file_that_is_read_again_is_claimed_again_and_nothing_else(self, world: World, log: Path) -> None:
        first = world.read(log)
        before = len(world.publisher.log)
        second = world.read(log)
        assert (second.source, second.attempt, second.counts) == (first.source, 1, first.counts)
        assert [record.topic for record in world.publisher.log[before:]] == ["stages"]
        one, other = world.stage_events(Claimed)
        assert (one.counts, one.ends, one.digest, one.name) == (other.counts, other.ends, other.digest, other.name)

    @pytest.mark.parametrize("copy", COPIES)
    def test_copies_are_one_source_and_loaded_once(
        self, world: World, log: Path, copy: Callable[[bytes], bytes]
    ) -> None:
        other = old(log.with_name("some.other.name"), copy(LOG))
        first, second, third = world.run(log, other, log)
        assert {first.source, second.source, third.source} == {first.source}
        assert {first.state, second.state, third.state} == {"claimed"}
        assert sorted(sent(world)) == sorted(EVENTS)

    def test_a_compressed_file_alone_gives_the_same(self, world: World, tmp_path: Path) -> None:
        outcome = world.read(old(tmp_path / "misnamed.json", gzip.compress(LOG)))
        assert outcome.counts["bytes"] == len(LOG)
        assert sorted(sent(world)) == sorted(EVENTS)
        assert world.progress[-1].bytes_read == len(gzip.compress(LOG))

    def test_what_was_appended_is_read_on_as_the_next_attempt(self, world: World, log: Path) -> None:
        first = world.read(log)
        old(log, LOG + event(99) + b"\n")
        second = world.read(log)
        assert (second.source, second.attempt, second.counts["events"]) == (first.source, 2, 31)
        assert sorted(sent(world)) == sorted([*EVENTS, event(99)])
        assert world.ends_hold(world.stage_events(Claimed)[-1])

    def test_a_log_that_was_rotated_and_compressed_meanwhile_is_read_on(self, world: World, log: Path) -> None:
        first = world.read(log)
        second = world.read(old(log.with_name("cowrie.json.1.gz"), gzip.compress(LOG + event(99) + b"\n")))
        assert (second.source, second.attempt) == (first.source, 2)
        assert len(sent(world)) == 31


class TestFilesThatOverlap:
    def test_a_prefix_after_the_whole_is_a_source_of_its_own(self, world: World, log: Path) -> None:
        whole = world.read(log)
        part = world.read(old(log.with_name("part"), LOG[: LOG.index(EVENTS[10])]))
        assert part.source == log_source_id(EVENTS[0], 1) != whole.source == log_source_id(EVENTS[0])
        assert (part.state, part.attempt, part.counts["events"]) == ("claimed", 1, 10)

    def test_a_prefix_before_the_whole_is_continued(self, world: World, log: Path) -> None:
        part = world.read(old(log.with_name("part"), LOG[: LOG.index(EVENTS[10])]))
        whole = world.read(log)
        assert (whole.source, whole.attempt) == (part.source, 2)
        assert sorted(sent(world)) == sorted(EVENTS)

    def test_a_middle_part_and_a_concatenation_have_their_own_verdicts(self, world: World, log: Path) -> None:
        middle = LOG[LOG.index(EVENTS[5]) : LOG.index(EVENTS[20])]
        files = [log, old(log.with_name("b"), middle), old(log.with_name("c"), middle + LOG)]
        outcomes = world.run(*files)
        assert [outcome.counts["events"] for outcome in outcomes] == [30, 15, 45]
        assert len({outcome.source for outcome in outcomes}) == 2, "the concatenation continues the middle part"
        assert {*sent(world)} == {*EVENTS}

    def test_files_that_start_alike_and_differ_later_are_two_sources(self, world: World, log: Path) -> None:
        other = old(log.with_name("other"), LOG.replace(b'"n": 7', b'"n": 9'))
        one, two = world.run(log, other)
        assert one.source != two.source
        assert [outcome.source for outcome in world.run(log, other)] == [one.source, two.source]

    def test_a_file_that_was_truncated_and_written_anew_is_another_source(self, world: World, log: Path) -> None:
        first = world.read(log)
        second = world.read(old(log, EVENTS[0] + b"\n" + event(77) + b"\n"))
        assert second.source != first.source
        assert second.counts["events"] == 2


UNREADABLE = [
    pytest.param(b"", {"lines": 0, "bytes": 0}, id="an empty file"),
    pytest.param(b"\xef\xbb\xbf", {"lines": 0, "bytes": 3}, id="nothing but a byte-order mark"),
    pytest.param(b"\n\r\n  \n", {"lines": 3, "blank": 3, "bytes": 6}, id="nothing but blank lines"),
    pytest.param(random.Random(1).randbytes(5_000), {"events": 0, "bytes": 5_000}, id="binary junk"),
    pytest.param(bytes(3_000), {"lines": 1, "dead": 1, "bytes": 3_000}, id="nothing but NUL"),
    pytest.param(b"[" * 3_000, {"lines": 1, "dead": 1}, id="one endless line"),
    pytest.param(b"{}\n[]\nnull\n7\n", {"lines": 4, "dead": 4}, id="JSON that is no event"),
]


@pytest.mark.parametrize(("content", "expected"), UNREADABLE)
def test_a_file_without_events_is_claimed_as_what_it_is(
    world: World, tmp_path: Path, content: bytes, expected: dict[str, int]
) -> None:
    outcome = world.read(old(tmp_path / "a.json", content))
    assert outcome.state == "claimed"
    assert expected.items() <= outcome.counts.items()
    assert outcome.counts["lines"] == sum(outcome.counts[name] for name in ("events", "dead", "blank"))
    assert world.observed(outcome.source) == (0, outcome.counts["dead"])
    lines = [line.removesuffix(b"\r") for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    assert [letter.payload for letter in world.letters()] == [line for line in lines if line.strip()]


WRAPPED = [
    pytest.param(lambda data: b"\xef\xbb\xbf" + data, 3, id="a byte-order mark"),
    pytest.param(lambda data: data.replace(b"\n", b"\r\n"), 0, id="CRLF"),
    pytest.param(lambda data: b"\n \n" + data, 3, id="blank lines before"),
    pytest.param(lambda data: data.rstrip(b"\n"), 0, id="no end of the last line"),
    pytest.param(lambda data: data.rstrip(b"\n") + b"\r", 0, id="half an end of the last line"),
]


@pytest.mark.parametrize(("wrap", "first"), WRAPPED)
def test_the_same_events_are_read_however_lines_begin_and_end(
    world: World, tmp_path: Path, wrap: Callable[[bytes], bytes], first: int
) -> None:
    outcome = world.read(old(tmp_path / "a.json", wrap(LOG)))
    assert sorted(sent(world)) == sorted(EVENTS)
    assert outcome.source == log_source_id(EVENTS[0])
    assert outcome.counts["bytes"] == len(wrap(LOG))
    assert world.slices()[0][1].positions[0] == first


def test_bad_lines_are_letters_and_the_rest_is_loaded(world: World, tmp_path: Path) -> None:
    bad = [b"what?", b"[]", b'{"eventid": "cowrie.x"}', b'{"timestamp": "2026-11-23T03:43:43Z"}', b"\xff\x00"]
    lines = [line for pair in zip(EVENTS, bad * 6, strict=True) for line in pair]
    content = b"".join(line + b"\n" for line in lines)
    outcome = world.read(old(tmp_path / "a.json", content))
    assert (outcome.state, outcome.counts["events"], outcome.counts["dead"]) == ("claimed", 30, 30)
    assert sorted(sent(world)) == sorted(EVENTS)
    for letter in world.letters():
        assert content[letter.position : letter.position + len(letter.payload)] == letter.payload
    assert [letter.payload for letter in world.letters()] == bad * 6
    assert world.observed(outcome.source) == (30, 30)


class TestAnUnfinishedLastLine:
    HALF = event(50)[:40]

    def test_it_is_a_letter_and_counted_once_however_often_it_is_met(self, world: World, log: Path) -> None:
        old(log, LOG + self.HALF)
        first, second = world.read(log), world.read(log)
        [letter] = world.letters()
        assert (letter.reason, letter.payload, letter.position) == ("unfinished last line", self.HALF, len(LOG))
        assert first.counts == second.counts
        assert (first.counts["dead"], first.counts["bytes"], second.attempt) == (1, len(LOG) + 40, 1)
        assert {claim.digest for claim in world.stage_events(Claimed)} == {xxhash.xxh3_128_hexdigest(LOG + self.HALF)}

    def test_once_it_is_finished_it_is_an_event(self, world: World, log: Path) -> None:
        old(log, LOG + self.HALF)
        world.read(log)
        old(log, LOG + event(50) + b"\n")
        outcome = world.read(log)
        assert sorted(sent(world)) == sorted([*EVENTS, event(50)])
        assert (outcome.attempt, outcome.counts["events"], outcome.counts["dead"]) == (2, 31, 1)
        assert world.observed(outcome.source) == (31, 1)

    def test_once_it_is_finished_and_no_event_it_is_still_one_letter(self, world: World, log: Path) -> None:
        old(log, LOG + self.HALF)
        world.read(log)
        old(log, LOG + self.HALF + b"junk\n" + event(51) + b"\n")
        outcome = world.read(log)
        assert [letter.reason for letter in world.letters()] == ["unfinished last line", "not JSON"]
        assert (outcome.counts["events"], outcome.counts["dead"], outcome.counts["lines"]) == (31, 1, 32)
        assert world.observed(outcome.source) == (31, 1)

    def test_alone_in_its_file_it_is_the_source(self, world: World, tmp_path: Path) -> None:
        outcome = world.read(old(tmp_path / "a.json", self.HALF))
        assert outcome.source == log_source_id(self.HALF)
        assert (outcome.counts["lines"], outcome.counts["dead"]) == (1, 1)

    def test_one_that_reads_as_an_event_is_not_read_again(self, world: World, log: Path) -> None:
        old(log, LOG + event(50))
        world.read(log)
        old(log, LOG + event(50) + b"\n" + event(51) + b"\n")
        outcome = world.read(log)
        assert sorted(sent(world)) == sorted([*EVENTS, event(50), event(51)])
        assert outcome.counts == {"lines": 33, "events": 32, "dead": 0, "blank": 1, "bytes": log.stat().st_size}

    @pytest.mark.parametrize("before", [LOG, b""], ids=["after others", "as the first line"])
    def test_it_is_waited_for_while_the_file_is_being_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes
    ) -> None:
        log = tmp_path / "a.json"
        log.write_bytes(before + self.HALF)
        rest = iter([event(50)[40:60], event(50)[60:] + b"\n"])

        class WrittenTo(Growth):
            """Whenever the reader is about to wait, Cowrie writes on."""

            def changes(self) -> bool:
                with log.open("ab") as file:
                    file.write(next(rest, b""))
                return super().changes()

        monkeypatch.setattr("producers.cowrie.reader.Growth", WrittenTo)
        world = World(settle_seconds=30.0)
        outcome = world.read(log)
        assert sorted(sent(world)) == sorted([*(EVENTS if before else []), event(50)])
        assert world.letters() == []
        assert outcome.source == log_source_id(EVENTS[0] if before else event(50))
        assert outcome.counts["bytes"] == log.stat().st_size


LONG = b'{"eventid": "cowrie.x", "input": "' + b"x" * 5_000 + b'"}'


@pytest.mark.parametrize("window", [100, 1_000_000])
def test_a_line_that_is_too_long_is_a_letter_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr("producers.cowrie.lines.PIECE_BYTES", 1_024)
    world = World(window_bytes=window, max_line_bytes=2_000)
    content = EVENTS[0] + b"\n" + LONG + b"\n" + EVENTS[1] + b"\n" + LONG
    outcome = world.read(old(tmp_path / "a.json", content))
    assert outcome.counts == {"lines": 4, "events": 2, "dead": 2, "blank": 0, "bytes": len(content)}
    letters = world.letters()
    assert {letter.reason for letter in letters} == {"line is too long"}
    for position in (len(EVENTS[0]) + 1, len(content) - len(LONG)):
        pieces = [letter for letter in letters if letter.position == position]
        assert b"".join(letter.payload for letter in pieces) == LONG
        assert [letter.piece for letter in pieces] == list(range(5))
        assert [letter.last for letter in pieces] == [False] * 4 + [True]
    assert world.observed(outcome.source) == (2, 2)


def test_a_line_of_ten_megabytes_is_an_event(tmp_path: Path) -> None:
    world = World()
    large = event(1, input="x" * 10_000_000)
    world.read(old(tmp_path / "a.json", EVENTS[0] + b"\n" + large + b"\n"))
    assert sent(world) == [EVENTS[0], large]


COMPRESSORS = [
    pytest.param(gzip.compress, id="gzip"),
    pytest.param(bz2.compress, id="bzip2"),
    pytest.param(partial(lzma.compress, preset=0), id="xz"),
    pytest.param(zstd.compress, id="zstd"),
]
NOISE = b"".join(event(number, noise=random.Random(number).randbytes(200).hex()) + b"\n" for number in range(9_000))


class TestADamagedFile:
    @pytest.mark.parametrize("compress", COMPRESSORS)
    def test_what_can_be_read_is_loaded_and_claimed_and_the_source_has_failed(
        self, tmp_path: Path, compress: Callable[[bytes], bytes]
    ) -> None:
        world = World()
        data = compress(NOISE)
        log = old(tmp_path / "a.json.gz", data[: len(data) * 3 // 4])
        outcome = world.read(log)
        assert outcome.state == "failed"
        assert "ends early" in outcome.reason
        assert outcome.claimed
        assert 1_000 < outcome.counts["events"] < 9_000
        lines = NOISE.split(b"\n")
        assert sorted(sent(world)) == sorted(lines[: outcome.counts["events"]])
        [letter] = world.letters()
        assert (letter.reason, outcome.counts["dead"]) == ("truncated", 1)
        assert lines[outcome.counts["events"]].startswith(letter.payload)
        [claim], [failed] = world.stage_events(Claimed), world.stage_events(Failed)
        assert claim.counts == outcome.counts
        assert (failed.source, failed.attempt, failed.stage) == (claim.source, 1, "read")
        assert str(log) in failed.reason

    def test_it_fails_again_in_the_same_way(self, tmp_path: Path) -> None:
        world = World()
        log = old(tmp_path / "a.json.gz", gzip.compress(NOISE)[:100_000])
        first, second = world.read(log), world.read(log)
        assert first == second
        assert [event.attempt for event in world.stage_events(Failed)] == [1, 1]
        assert len(world.letters()) == 1

    @pytest.mark.parametrize("runs", [1, 2], ids=["in the first run", "in a later run"])
    def test_it_says_that_it_failed_before_it_claims_so_that_both_count(self, tmp_path: Path, runs: int) -> None:
        world = World()
        log = old(tmp_path / "a.json.gz", gzip.compress(NOISE)[:100_000])
        for _ in range(runs):
            outcome = world.read(log)
        assert [type(event) for event in world.said()] == [Started, *[Failed, Claimed] * runs]
        state, read = stage_read(world, outcome.source)
        assert (read.verdict, read.reason) == (Verdict.FAILED, f"{log}: {outcome.reason}")
        assert state.claims["read"].counts == outcome.counts

    def test_of_a_source_that_comes_damaged_and_whole_the_last_word_stands(self, tmp_path: Path) -> None:
        world = World()
        packed = gzip.compress(LOG)
        damaged, whole = old(tmp_path / "a.gz", packed[:-4]), old(tmp_path / "b.gz", packed)
        attempts = []
        for path, verdict in ((damaged, "failed"), (whole, "succeeded"), (damaged, "failed"), (damaged, "failed")):
            outcome = world.read(path)
            _, read = stage_read(world, outcome.source)
            assert read.verdict == verdict
            assert (read.attempt, outcome.state) == (outcome.attempt, "failed" if path is damaged else "claimed")
            attempts.append(outcome.attempt)
        assert attempts == [1, 2, 3, 3]
        assert sorted(sent(world)) == sorted(EVENTS)

    def test_an_undamaged_copy_is_read_on(self, tmp_path: Path) -> None:
        world = World()
        first = world.read(old(tmp_path / "a.json.gz", gzip.compress(NOISE)[:100_000]))
        second = world.read(old(tmp_path / "b.json", NOISE))
        assert (second.source, second.attempt, second.state) == (first.source, 2, "claimed")
        assert sorted(sent(world)) == sorted(NOISE.split(b"\n")[:-1])
        assert world.observed(second.source) == (9_000, second.counts["dead"]) == (9_000, 1)

    def test_a_disk_error_in_the_middle_fails_the_attempt_and_the_next_run_goes_on(
        self, world: World, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = PlainContent.read

        def failing(self: PlainContent, size: int) -> bytes:
            if self.position >= 1_400:
                raise OSError(5, os.strerror(5))
            return read(self, size)

        with monkeypatch.context() as patch:
            patch.setattr(PlainContent, "read", failing)
            first = world.read(log)
        assert (first.state, first.attempt) == ("failed", 1)
        assert "I/O error" in world.stage_events(Failed)[0].reason
        assert not first.claimed
        assert 0 < first.counts["events"] < 30
        second = world.read(log)
        assert (second.state, second.attempt, second.counts["events"]) == ("claimed", 2, 30)
        assert world.observed(second.source) == (30, 0)

    def test_a_failure_before_anything_was_sent_is_not_the_last_word(
        self, world: World, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def failing(_self: Reading) -> bytes:
            raise OSError(5, os.strerror(5))

        with monkeypatch.context() as patch:
            patch.setattr(Reading, "_fill", failing)
            first = world.read(log)
        assert stage_read(world, first.source)[1].verdict is Verdict.FAILED
        second = world.read(log)
        assert (second.source, second.attempt) == (first.source, 2)
        assert stage_read(world, first.source)[1].verdict is Verdict.SUCCEEDED


def refuse(_file: io.FileIO) -> None:
    raise PermissionError(13, os.strerror(13))


class TestWhatCantBeRead:
    def test_the_others_are_read_and_each_is_told_of(self, world: World, log: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        outcomes = world.run(tmp_path / "nowhere.json", log, tmp_path / "empty")
        assert [outcome.state for outcome in outcomes] == ["failed", "claimed", "failed"]
        assert [outcome.source.startswith("path-") for outcome in outcomes] == [True, False, True]
        failed = world.stage_events(Failed)
        assert [(event.source, event.name, event.stage) for event in failed] == [
            (outcomes[0].source, str(tmp_path / "nowhere.json"), "read"),
            (outcomes[2].source, str(tmp_path / "empty"), "read"),
        ]
        assert "no such file" in failed[0].reason
        assert "holds no log" in failed[1].reason

    def test_a_file_that_may_not_be_read(self, world: World, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("producers.cowrie.reader.decompressed", refuse)
        outcome = world.read(log)
        assert (outcome.state, outcome.source[:5]) == ("failed", "path-")
        assert "no permission" in outcome.reason

    def test_each_failure_is_an_attempt_of_its_own_with_its_own_reason(
        self, world: World, log: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = log.read_bytes()
        log.unlink()
        first = world.read(log)
        old(log, content)
        with monkeypatch.context() as patch:
            patch.setattr("producers.cowrie.reader.decompressed", refuse)
            second = world.read(log)
        assert (first.source, first.attempt, second.source, second.attempt) == (second.source, 1, first.source, 2)
        state, read = stage_read(world, first.source)
        assert (state.attempt, read.verdict, read.reason) == (2, Verdict.FAILED, f"{log}: {second.reason}")
        assert "no permission" in read.reason
        third = world.read(log)
        assert (third.state, third.attempt, third.counts["events"]) == ("claimed", 1, 30)

    def test_an_attempt_has_its_number_before_it_fails(self, world: World, tmp_path: Path) -> None:
        """A reader that dies in between leaves a number unused, never one that is used twice."""
        world.run(tmp_path / "nowhere.json", records=1)
        outcome = world.read(tmp_path / "nowhere.json")
        assert [event.attempt for event in world.stage_events(Failed)] == [outcome.attempt] == [2]

    def test_told_to_stop_it_says_nothing_that_kafka_may_not_know(
        self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("producers.outlet.STOP_SECONDS", 0.0)
        monkeypatch.setattr(world.publisher, "flush", lambda _seconds=None: False)
        asked = iter([False])
        [outcome] = world.run(tmp_path / "nowhere.json", stop=lambda: next(asked, True))
        assert (outcome.state, world.stage_events(Failed)) == ("interrupted", [])

    def test_a_file_whose_name_is_no_text(self, world: World, tmp_path: Path) -> None:
        outcome = world.read(old(tmp_path / os.fsdecode(b"caf\xe9.json"), LOG))
        assert (outcome.state, Path(outcome.path).name) == ("claimed", "caf\\xe9.json")


class TestStopping:
    def test_a_reader_that_is_told_to_stop_leaves_a_place_to_go_on_from(self, world: World, log: Path) -> None:
        def stop() -> bool:
            return len(world.slices()) >= 6

        first, second = world.run(log, log, stop=stop)
        assert (first.state, second.state) == ("interrupted", "interrupted")
        assert 0 < first.counts["events"] < 30
        assert world.stage_events(Claimed) == []
        third = world.read(log)
        assert (third.state, third.attempt, third.source) == ("claimed", 2, first.source)
        assert sorted(sent(world)) == sorted(EVENTS), "nothing was read twice"

    def test_a_reader_that_died_before_its_claim_claims_in_the_next_attempt(self, world: World, log: Path) -> None:
        undisturbed = World(window_bytes=700)
        undisturbed.read(log)
        world.run(log, records=len(undisturbed.publisher.log) - 2)
        assert world.stage_events(Claimed) == []
        outcome = world.read(log)
        [claim], [expected] = world.stage_events(Claimed), undisturbed.stage_events(Claimed)
        assert (outcome.state, claim.attempt) == ("claimed", 2)
        assert (claim.counts, claim.ends, claim.digest) == (expected.counts, expected.ends, expected.digest)


def test_a_heartbeat_is_sent_while_reading(log: Path) -> None:
    world = World(window_bytes=200, heartbeat_seconds=1e-9)
    world.read(log)
    beats = world.stage_events(Started)
    assert len(beats) > 10
    assert {(beat.source, beat.attempt, beat.name) for beat in beats} == {(log_source_id(EVENTS[0]), 1, str(log))}


BOMBS = [
    pytest.param(b"\n", 800_000, id="blank lines"),
    pytest.param(b"x", 100_000_000, id="one endless line"),
    pytest.param(event(1) + b" " * 2_000 + b"\n", 100_000_000, id="events"),
    pytest.param(b"x\n", 30_000, id="very short bad lines"),
]


@pytest.mark.parametrize(("unit", "size"), BOMBS)
def test_a_decompression_bomb_needs_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: bytes, size: int
) -> None:
    monkeypatch.setattr("producers.cowrie.lines.PIECE_BYTES", 64 * 1024)
    monkeypatch.setattr("producers.cowrie.lines.MAX_LINES", 1_000)
    world = World(window_bytes=64 * 1024, max_line_bytes=128 * 1024, max_dead_share=1.0)
    world.publisher.forget = True
    log = old(tmp_path / "bomb.gz", gzip.compress(unit * (size // len(unit)), 1))
    tracemalloc.start()
    outcome = world.read(log)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcome.counts["bytes"] == size // len(unit) * len(unit)
    assert peak < 8_000_000
