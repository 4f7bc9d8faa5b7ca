"""A subscription against a real server on loopback that behaves by a script."""

import asyncio
from collections.abc import Callable

import pytest
import trustme
from aiohttp import web

from producers.atproto.live.arrivals import CursorAhead
from producers.atproto.live.measures import Measure
from producers.atproto.live.subscription import StreamRefused
from producers.atproto.protocol.framing import MAX_FRAME_BYTES
from producers.atproto.protocol.messages import seq_of
from tallystick.contracts.atproto import ACCOUNTS, Account, NoticeKind
from tallystick.errors import ServiceError, TallyError
from tests.atproto_server import Script, Server, answer, close, deaf, fragments, replay, reset, send, serving
from tests.atproto_world import frame, frames
from tests.stream_world import World

DID = "did:plc:somebody"
FUTURE = next(frames("err_future_cursor.bin"))
TOO_SLOW = list(frames("err_consumer_too_slow.bin"))[-1]
OUTDATED = next(frames("info_outdated_cursor.bin"))


def account(seq: int, **more: object) -> bytes:
    """A small event with a number."""
    return frame("#account", {"seq": seq, "did": DID, "active": True, "time": "2026-11-23T04:08:00.000Z", **more})


def accounts(first: int, last: int) -> list[bytes]:
    return [account(seq) for seq in range(first, last + 1)]


def follow(
    server: Server,
    look: Callable[[World], object] | int,
    *,
    expected: type[TallyError] | None = None,
    **options: object,
) -> World:
    """Follow a server until `look` holds, or so many events have come, or it ends by the error that is expected."""

    async def run() -> World:
        world = World(server.url, **options)  # type: ignore[arg-type]
        reached = (lambda: len(seqs(world)) >= look) if isinstance(look, int) else (lambda: look(world))
        if expected is None:
            await world.until(reached)
        else:
            with pytest.raises(expected):
                await world.until(reached)
        return world

    with serving(server):
        return asyncio.run(run())


def seqs(world: World) -> list[int]:
    return [event.seq for event in world.sent(ACCOUNTS, Account)]


def kinds(world: World) -> list[NoticeKind]:
    return [notice.kind for notice in world.notices()]


@pytest.mark.parametrize("inclusive", [False, True], ids=["what follows the cursor", "the cursor's event as well"])
def test_it_goes_on_behind_the_cursor_whatever_the_host_takes_a_cursor_for(inclusive: bool) -> None:
    server = Server(accounts(1, 20), inclusive=inclusive)
    world = follow(server, 10, position=10)
    assert server.cursors == ["10"]
    assert seqs(world) == list(range(11, 21))
    assert world.stream.measures.value(Measure.IGNORED, reason="repeat") == inclusive
    assert (world.notices(), world.stream.position) == ([], 20)


@pytest.mark.parametrize(
    ("begin", "cursor"), [("oldest", "0"), ("live", None), (7, "7")], ids=["oldest", "live", "a number"]
)
def test_what_was_never_read_begins_where_it_is_told_to(begin: str | int, cursor: str | None) -> None:
    server = Server(accounts(8, 12))
    world = follow(server, 5, begin=begin)
    assert server.cursors == [cursor]
    assert (seqs(world), world.notices()) == ([8, 9, 10, 11, 12], [])


def test_the_first_event_of_a_live_stream_is_not_lost_by_a_crash_before_it_is_acknowledged() -> None:
    server = Server(accounts(8, 12))

    async def run() -> World:
        world = World(server.url, begin="live")
        world.publisher.away = True
        await world.until(world.checkpoints)
        return world

    with serving(server):
        world = asyncio.run(run())
    assert [checkpoint.position for checkpoint in world.checkpoints()] == [7]


@pytest.mark.parametrize(
    ("script", "kind", "detail"),
    [
        pytest.param(send(*accounts(1, 3), then=close(1000)), NoticeKind.DISCONNECTED, "1000", id="closed"),
        pytest.param(
            send(*accounts(1, 3), then=close(1008, "\x1b[31mPolicy")),
            NoticeKind.DISCONNECTED,
            "1008 '\\x1b[31mPolicy'",
            id="closed, with a reason that is escaped",
        ),
        pytest.param(send(*accounts(1, 3), then=reset), NoticeKind.DISCONNECTED, "", id="TCP reset"),
        pytest.param(send(*accounts(1, 3), TOO_SLOW), NoticeKind.TOO_SLOW, "ConsumerTooSlow", id="too slow"),
        pytest.param(
            send(*accounts(1, 3), next(frames("err_bad_cursor.bin"))),
            NoticeKind.DISCONNECTED,
            "InternalServerError",
            id="another error",
        ),
    ],
)
def test_what_ends_a_connection_is_told_and_it_goes_on_behind_the_last_event(
    script: Script, kind: NoticeKind, detail: str
) -> None:
    server = Server(accounts(1, 6))
    server.scripts.append(script)
    world = follow(server, 6)
    assert seqs(world) == [1, 2, 3, 4, 5, 6]
    assert server.cursors == ["0", "3"]
    (notice,) = world.notices()
    assert (notice.kind, notice.before, notice.action) == (kind, 3, "connects again in 1.0 s")
    assert detail in notice.detail
    assert world.stream.measures.value(Measure.RECONNECTS, reason=kind.value) == 1


def test_a_host_whose_certificate_nobody_vouches_for_is_told_of_and_asked_again() -> None:
    server = Server(accounts(1, 2))
    server.certify(trustme.CA())
    world = follow(server, lambda world: len(world.waits) == 3)
    assert world.waits == [1.0, 2.0, 4.0]
    assert server.cursors == [], "nothing was asked"
    assert set(kinds(world)) == {NoticeKind.DISCONNECTED}
    for notice in world.notices():
        assert notice.detail == "its certificate is not trusted: 'unable to get local issuer certificate'"
        assert notice.action.startswith("connects again in")


@pytest.mark.parametrize("status", [429, 500, 502, 503], ids=str)
def test_a_host_in_trouble_is_asked_again_later_and_later(status: int) -> None:
    server = Server(accounts(1, 2))
    server.scripts.extend([answer(status)] * 3)
    world = follow(server, 2)
    assert world.waits == [1.0, 2.0, 4.0]
    assert {notice.detail.split(" '")[0] for notice in world.notices()} == {f"HTTP {status}"}


def test_a_host_is_left_alone_for_as_long_as_it_asks() -> None:
    server = Server(accounts(1, 2))
    server.scripts.extend([answer(429, {"Retry-After": "17"}), answer(503, {"Retry-After": "99999999"})])
    assert follow(server, 2).waits == [17.0, 3600.0]


@pytest.mark.parametrize("status", [401, 403, 404, 405, 410, 426], ids=str)
def test_a_refusal_ends_the_stream(status: int) -> None:
    server = Server()
    server.scripts.append(answer(status))
    world = follow(server, 1, expected=StreamRefused)
    assert (kinds(world), len(server.cursors)) == ([NoticeKind.REFUSED], 1)


def test_a_host_that_accepts_and_says_nothing_is_asked_again() -> None:
    async def mute(_server: Server, _request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    server = Server(accounts(1, 2))
    server.scripts.append(mute)
    world = follow(server, 2, http_seconds=0.2)
    assert [notice.detail for notice in world.notices()] == ["no answer within 0.2 s"]


def test_no_connection_at_all_is_tried_again() -> None:
    async def run() -> World:
        world = World("ws://127.0.0.1:1")
        await world.until(lambda: len(world.waits) == 8)
        return world

    world = asyncio.run(run())
    assert world.waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 64.0]
    assert set(kinds(world)) == {NoticeKind.DISCONNECTED}


def test_gaps_are_told_with_the_numbers_around_them() -> None:
    server = Server([*accounts(1, 3), *accounts(7, 8), *accounts(10, 12)])
    world = follow(server, 8)
    assert seqs(world) == [1, 2, 3, 7, 8, 10, 11, 12]
    assert [(notice.before, notice.after) for notice in world.notices()] == [(3, 7), (8, 10)]
    assert world.stream.measures.value(Measure.MISSING) == 4


def test_a_jump_at_the_beginning_of_a_connection_is_a_gap() -> None:
    world = follow(Server(accounts(31, 33)), 3, position=10)
    assert [(notice.kind, notice.before, notice.after) for notice in world.notices()] == [(NoticeKind.GAP, 10, 31)]


def test_an_outdated_cursor_is_told_with_the_numbers_around_what_is_missing() -> None:
    server = Server()
    server.scripts.append(send(OUTDATED, *accounts(31, 33)))
    world = follow(server, 3, position=10)
    (notice,) = world.notices()
    assert (notice.kind, notice.before, notice.after) == (NoticeKind.OUTDATED_CURSOR, 10, 31)
    assert world.stream.measures.value(Measure.MISSING) == 0


def test_an_outdated_cursor_is_told_even_if_no_event_follows() -> None:
    server = Server(accounts(11, 12))
    server.scripts.append(send(OUTDATED, then=close(1000)))
    world = follow(server, 2, position=10)
    assert kinds(world) == [NoticeKind.OUTDATED_CURSOR, NoticeKind.DISCONNECTED]


FUTURE_SCRIPTS = [
    pytest.param(send(FUTURE, then=close(1008, "FutureCursor")), 0, id="by an error"),
    pytest.param(send(*accounts(3, 5)), 3, id="silently, by a smaller number"),
]


@pytest.mark.parametrize(("script", "after"), FUTURE_SCRIPTS)
def test_a_cursor_that_lies_ahead_halts_the_stream(script: Script, after: int) -> None:
    server = Server(accounts(1, 5))
    server.scripts.append(script)
    world = follow(server, 1, position=100, expected=CursorAhead)
    (notice,) = world.notices()
    assert (notice.kind, notice.action, notice.before, notice.after) == (
        NoticeKind.FUTURE_CURSOR,
        "halts",
        100,
        after,
    )
    assert (seqs(world), world.stream.position) == ([], 100)


@pytest.mark.parametrize(("script", "after"), FUTURE_SCRIPTS)
@pytest.mark.parametrize("policy", ["live", "oldest"])
def test_or_it_begins_anew_as_the_policy_is(script: Script, after: int, policy: str) -> None:
    server = Server(accounts(1, 5))
    server.scripts.append(script)
    is_at_once = policy == "live" and after
    world = follow(server, 3 if is_at_once else 5, position=100, future_cursor=policy)
    assert kinds(world) == [NoticeKind.FUTURE_CURSOR]
    assert seqs(world) == ([3, 4, 5] if is_at_once else [1, 2, 3, 4, 5])
    assert server.cursors == ["100", *([] if is_at_once else [None if policy == "live" else "0"])]
    assert world.stream.position == 5
    assert world.checkpoints()[-1].position == 5


def test_a_connection_that_answers_nothing_is_dropped() -> None:
    server = Server(accounts(1, 6))
    server.scripts.append(deaf(*accounts(1, 3)))
    world = follow(server, 6, ping_seconds=0.2)
    assert kinds(world) == [NoticeKind.ZOMBIE]
    assert server.cursors == ["0", "3"]


def test_a_quiet_host_that_answers_is_no_fault() -> None:
    server = Server(accounts(1, 3), pace=0.5)
    world = follow(server, 3, ping_seconds=0.1, idle_seconds=0)
    assert world.notices() == []


def test_but_after_long_silence_it_is_connected_anew() -> None:
    server = Server(accounts(1, 3))
    world = follow(server, lambda _world: len(server.cursors) == 2, idle_seconds=0.3)
    assert kinds(world) == [NoticeKind.SILENCE]
    assert server.cursors == ["0", "3"]


def test_text_unknown_kinds_and_other_streams_are_left_out_and_counted() -> None:
    labels = frame("#labels", {"seq": 3, "labels": []})
    server = Server()
    server.scripts.append(
        send(account(1), "text", frame("#later", {"seq": 2}), labels, frame("#info", {"name": "Hello"}), account(4))
    )
    world = follow(server, 2)
    assert (seqs(world), world.notices(), world.letters()) == ([1, 4], [], [])
    assert [
        world.stream.measures.value(Measure.IGNORED, reason=why) for why in ("text", "unknown", "misplaced", "info")
    ] == [1] * 4
    last = world.checkpoints()[-1]
    assert (last.position, last.lines, last.events, last.blank) == (4, 4, 2, 2)


def test_a_message_with_an_unusable_field_is_a_dead_letter_and_the_others_go_on() -> None:
    bad = account(2, active="perhaps")
    server = Server([account(1), bad, account(3)])
    world = follow(server, 2)
    (letter,) = world.letters()
    assert (letter.reason, letter.position, letter.payload) == ("field_unusable", 2, bad)
    assert (seqs(world), world.notices(), world.stream.position) == ([1, 3], [], 3)


def test_fragments_become_one_message() -> None:
    server = Server(accounts(1, 2))
    server.scripts.append(send(account(1), then=fragments(account(2), 5)))
    world = follow(server, 2)
    assert seqs(world) == [1, 2]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(b"\xff\xff", "header_unreadable", id="no CBOR"),
        pytest.param(account(3)[:-3], "body_unreadable", id="cut off"),
        pytest.param(bytes(MAX_FRAME_BYTES + 1), "frame_too_large", id="5 MiB and a byte"),
        pytest.param(bytes(MAX_FRAME_BYTES + 1_000_000), "frame_too_large", id="6 MB, which is not even read"),
    ],
)
def test_what_is_no_frame_drops_the_connection_and_is_passed_in_the_end(bad: bytes, reason: str) -> None:
    server = Server(accounts(4, 5))
    server.scripts.append(send(*accounts(1, 2), bad, account(4)))
    server.scripts.extend([send(bad, account(4))] * 2)
    world = follow(server, 4)
    assert seqs(world) == [1, 2, 4, 5]
    assert server.cursors == ["0", "2", "2", "3"], "after three times it is skipped"
    assert kinds(world) == [NoticeKind.FRAMING] * 3 + [NoticeKind.GAP]
    (letter,) = world.letters()
    assert (letter.reason, letter.position) == (reason, 2)
    assert letter.payload == (bad if len(bad) < MAX_FRAME_BYTES + 64 * 1024 else b"")


def test_a_host_that_sends_nothing_else_ends_the_task() -> None:
    server = Server()
    server.scripts.extend([send(account(1), b"\xff")] + [send(b"\xff")] * 4)
    world = follow(server, 2, expected=ServiceError)
    assert server.cursors == ["0", "1", "1", "2", "3"]
    assert [notice.action for notice in world.notices()][-1] == "ends"


def test_while_kafka_is_away_the_socket_is_not_read_and_nothing_is_lost() -> None:
    many = [account(seq, padding="x" * 8_000) for seq in range(1, 3_001)]
    server = Server(many)

    async def run() -> World:
        world = World(server.url, high_water_frames=50, ping_seconds=0.2)
        world.publisher.away = True

        def came_back() -> bool:
            if world.publisher.away and world.stream.measures.value(Measure.BACKPRESSURE_SECONDS) > 1.0:
                assert len(seqs(world)) == 50
                assert server.sent < len(many), "TCP must hold the host back"
                world.publisher.away = False
            return world.stream.position == len(many)

        await world.until(came_back, seconds=60)
        return world

    with serving(server):
        world = asyncio.run(run())
    assert seqs(world) == [seq_of(event) for event in many]
    assert world.notices() == [], "a host that is not read is not taken for dead"


def test_large_frames_count_by_their_bytes() -> None:
    big = [account(seq, padding="x" * 1_000_000) for seq in range(1, 9)]

    async def run() -> World:
        world = World(server.url, high_water_bytes=2_500_000)
        world.publisher.away = True
        await world.until(lambda: world.stream.measures.value(Measure.BACKPRESSURE_SECONDS) > 0.3)
        return world

    with serving(server := Server(big)):
        world = asyncio.run(run())
    assert seqs(world) == [1, 2, 3]


def test_connections_are_healthy_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(accounts(1, 2))
    server.scripts.extend([replay(then=close(1000))] * 4)
    monkeypatch.setattr("producers.atproto.live.reconnecting.HEALTHY_SECONDS", 0.0)
    assert follow(server, lambda world: len(world.waits) == 3).waits == [1.0, 1.0, 1.0]
