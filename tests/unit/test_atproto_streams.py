"""The decisions of a stream, as tables: numbers, waits, filters."""

import msgspec
import pytest

from producers.atproto.filters import Filters
from producers.atproto.live.reconnecting import Answer, Backoff, Unreadable
from producers.atproto.live.sequences import Sequence, Step
from tallystick.contracts.atproto import Action, Op
from tallystick.settings import AtprotoSettings


@pytest.mark.parametrize(
    ("last", "numbers", "steps"),
    [
        pytest.param(0, [226, 227], [Step.START, Step.NEXT], id="nothing is missing before the first"),
        pytest.param(10, [11, 12], [Step.NEXT, Step.NEXT], id="the host sends what follows"),
        pytest.param(10, [10, 11], [Step.REPEAT, Step.NEXT], id="the host sends the cursor's as well"),
        pytest.param(10, [13, 14], [Step.GAP, Step.NEXT], id="a gap at once"),
        pytest.param(10, [11, 14], [Step.NEXT, Step.GAP], id="a gap later"),
        pytest.param(10, [9], [Step.BEHIND], id="the host has never come as far"),
        pytest.param(10, [10, 9, 11], [Step.REPEAT, Step.REPEAT, Step.NEXT], id="only the first tells that"),
        pytest.param(10, [11, 5, 12], [Step.NEXT, Step.REPEAT, Step.NEXT], id="a repeat within"),
    ],
)
def test_numbers_are_judged_by_the_last_one_and_the_cursor(last: int, numbers: list[int], steps: list[Step]) -> None:
    sequence = Sequence(last=last)
    sequence.cursor()
    found = []
    for number in numbers:
        found.append(sequence.step(number))
        if found[-1] not in (Step.REPEAT, Step.BEHIND):
            sequence.take(number)
    assert found == steps


@pytest.mark.parametrize(
    ("last", "oldest", "skip", "cursor"),
    [
        pytest.param(0, False, 0, None, id="live"),
        pytest.param(0, True, 0, 0, id="oldest"),
        pytest.param(7, True, 0, 7, id="what was read goes on"),
        pytest.param(7, False, 2, 9, id="some are skipped"),
    ],
)
def test_the_cursor_that_is_asked_for(last: int, oldest: bool, skip: int, cursor: int | None) -> None:
    assert Sequence(last=last, oldest=oldest).cursor(skip=skip) == cursor


def test_after_a_skip_the_event_that_was_skipped_is_no_sign_of_numbers_that_began_anew() -> None:
    sequence = Sequence(last=7)
    assert sequence.cursor(skip=1) == 8
    assert sequence.step(8) is Step.NEXT


def test_waits_grow_to_their_bound_and_begin_anew_only_after_a_healthy_connection() -> None:
    backoff = Backoff(8.0, chance=lambda _low, _high: 1.0)
    waits = [backoff.wait(connected_seconds=seconds) for seconds in (0, 1, 59, 59, 59, 60, 0)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 8.0, 1.0, 2.0]


def test_waits_differ_by_chance_and_are_never_short() -> None:
    waits = [Backoff(64.0).wait(connected_seconds=0) for _ in range(100)]
    assert len(set(waits)) > 50
    assert all(0.75 <= wait <= 1.25 for wait in waits)


def test_very_many_failures_do_no_harm() -> None:
    backoff = Backoff(64.0)
    assert max(backoff.wait(connected_seconds=0) for _ in range(3000)) <= 80.0


def test_what_is_no_frame_is_asked_for_again_then_skipped_then_given_up() -> None:
    unreadable = Unreadable()
    found = [(unreadable.failed(7, 1), unreadable.skip) for _ in range(5)]
    assert found == [
        (Answer.AGAIN, 0),
        (Answer.AGAIN, 0),
        (Answer.SKIP, 1),
        (Answer.SKIP, 2),
        (Answer.GIVE_UP, 3),
    ]
    assert (unreadable.failed(8, 1), unreadable.skip) == (Answer.AGAIN, 0), "at another place it begins anew"


def test_what_the_host_does_not_repeat_is_not_skipped() -> None:
    unreadable = Unreadable()
    found = [(unreadable.failed(7, digest), unreadable.skip) for digest in range(5)]
    assert found == [(Answer.AGAIN, 0)] * 4 + [(Answer.GIVE_UP, 0)]


@pytest.mark.parametrize(
    ("patterns", "kept", "left"),
    [
        pytest.param((), ["app.bsky.feed.post/1", "x.y/2"], [], id="none: all"),
        pytest.param(("app.bsky.*",), ["app.bsky.feed.post/1"], ["app.bsky/1", "xapp.bsky.feed.post/1"], id="a prefix"),
        pytest.param(("app.bsky.feed.post",), ["app.bsky.feed.post/1"], ["app.bsky.feed.posts/1"], id="a name"),
        pytest.param(("app.bsky.feed.post",), [], ["appXbskyXfeedXpost/1"], id="a dot is a dot"),
        pytest.param(("*.post", "a.b"), ["x.y.post/1", "a.b/1"], ["a.b.c/1"], id="several"),
    ],
)
def test_collections_are_kept_by_patterns(patterns: tuple[str, ...], kept: list[str], left: list[str]) -> None:
    filters = Filters(AtprotoSettings(collections=patterns))
    assert [path for path in kept + left if filters.keeps_path(path)] == kept


@pytest.mark.parametrize(
    ("record", "is_kept"),
    [
        pytest.param(b'{"langs":["de"]}', True, id="the language"),
        pytest.param(b'{"langs":["de-AT"]}', True, id="a variant of it"),
        pytest.param(b'{"langs":["DE"]}', True, id="in other letters"),
        pytest.param(b'{"langs":["en","de"]}', True, id="one of several"),
        pytest.param(b'{"langs":["en"]}', False, id="another language"),
        pytest.param(b'{"langs":["den"]}', False, id="another that begins alike"),
        pytest.param(b'{"langs":[]}', True, id="an empty list names none"),
        pytest.param(b'{"text":"hello"}', True, id="no list"),
        pytest.param(b'{"langs":"en"}', True, id="no list, but something else"),
        pytest.param(b'{"langs":[7]}', True, id="a list of something else"),
        pytest.param(b"", True, id="no record, as of a delete"),
    ],
)
def test_records_are_kept_by_the_languages_that_they_name(record: bytes, is_kept: bool) -> None:
    op = Op(Action.CREATE, "c", "r", record=msgspec.Raw(record) if record else msgspec.UNSET)
    assert Filters(AtprotoSettings(languages=("de",))).keeps_languages(op) is is_kept
    assert Filters(AtprotoSettings()).keeps_languages(op)


def test_accounts_are_kept_by_name() -> None:
    filters = Filters(AtprotoSettings(dids=("did:plc:a",)))
    assert (filters.keeps_account("did:plc:a"), filters.keeps_account("did:plc:b")) == (True, False)
    assert Filters(AtprotoSettings()).keeps_account("did:plc:b")
