"""AT Protocol: offsets of what is done at once, turns at hosts, and what follows from errors, as tables."""

import asyncio

import pytest

from producers.atproto.backfill.offsets import Offsets
from producers.atproto.backfill.pacing import HostGivenUp, Hosts, Pace
from producers.atproto.backfill.snapshots import SnapshotError, SnapshotReason
from producers.atproto.backfill.verdicts import Again, Lost, Moved, Verdict, verdict_on
from producers.atproto.directory import Unresolvable
from producers.atproto.http import Refused, Transient
from producers.atproto.protocol.car import CarError, CarReason
from producers.atproto.protocol.failures import Failure, Invalid
from producers.atproto.protocol.mst import MstError, MstReason
from tallystick.errors import ServiceError, TallyError


def test_an_offset_is_ready_when_all_before_it_in_its_partition_are_done() -> None:
    offsets = Offsets()
    for place in ((0, 5), (0, 6), (0, 9), (1, 3)):
        offsets.begin(*place)
    offsets.done(0, 6)
    assert offsets.ready() == {}
    offsets.done(1, 3)
    offsets.done(0, 5)
    assert offsets.ready() == {0: 7, 1: 4}
    assert offsets.ready() == {}
    offsets.done(0, 9)
    assert offsets.ready() == {0: 10}


def test_what_ends_after_its_partition_was_given_away_is_nobodys() -> None:
    offsets = Offsets()
    offsets.begin(0, 5)
    offsets.forget()
    offsets.done(0, 5)
    assert offsets.ready() == {}
    offsets.begin(0, 5)
    offsets.done(0, 5)
    assert offsets.ready() == {0: 6}


def test_a_host_that_rests_holds_back_nobody_elses_turn() -> None:
    async def work() -> list[str]:
        hosts = Hosts(at_once=2, per_host=1, pace=Pace(host_first=0.2))
        order: list[str] = []

        async def ask(name: str) -> None:
            async with hosts.turn(name):
                order.append(name)

        async with hosts.turn("slow") as slow:
            hosts.troubled(slow, None)
        await asyncio.gather(*(ask(name) for name in ("slow", "slow", "slow", "quick", "quick")))
        return order

    assert asyncio.run(work()) == ["quick", "quick", "slow", "slow", "slow"]


def test_so_many_are_asked_at_once_and_so_many_of_one_host() -> None:
    async def work() -> tuple[int, int]:
        hosts = Hosts(at_once=3, per_host=2, pace=Pace())
        now: dict[str, int] = {}
        most_of_one = most = 0

        async def ask(name: str) -> None:
            nonlocal most_of_one, most
            async with hosts.turn(name):
                now[name] = now.get(name, 0) + 1
                most_of_one, most = max(most_of_one, *now.values()), max(most, sum(now.values()))
                await asyncio.sleep(0)
                now[name] -= 1

        await asyncio.gather(*(ask(name) for name in "aaaabbbbcccc"))
        return most_of_one, most

    assert asyncio.run(work()) == (2, 3)


def test_a_host_that_has_answered_may_be_asked_by_another_while_its_answer_is_worked_on() -> None:
    async def work() -> None:
        hosts = Hosts(at_once=2, per_host=1, pace=Pace())
        async with hosts.turn("a") as turn:
            hosts.answered(turn)
            async with asyncio.timeout(5), hosts.turn("a"):
                turn.over()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01), hosts.turn("a"):
                        pass

    asyncio.run(work())


def test_a_host_that_is_always_in_trouble_is_not_waited_for() -> None:
    async def work() -> None:
        hosts = Hosts(at_once=3, per_host=1, pace=Pace(host_first=0.001, host_longest=0.001, host_tries=3))
        for _ in range(2):
            async with hosts.turn("down") as turn:
                hosts.troubled(turn, None)
        async with hosts.turn("down") as turn:
            hosts.troubled(turn, 60.0)
        with pytest.raises(HostGivenUp, match="3 times in a row"):
            async with hosts.turn("down"):
                pass
        hosts.answered(turn)
        async with hosts.turn("down"):
            pass

    asyncio.run(work())


def test_waits_grow_to_a_limit() -> None:
    pace = Pace()
    assert 8 <= pace.after_try(1) <= 10
    assert 24 <= pace.after_try(2) <= 30
    assert 2880 <= pace.after_try(50) <= 3600
    assert 720 <= pace.after_trouble(10_000) <= 900


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        pytest.param(Transient("x", status=503), Again("x"), id="trouble counts as a try"),
        pytest.param(Transient("x", status=429), Again("x", counts=False), id="the host's pace does not"),
        pytest.param(
            Refused("x", status=400, error="RepoTakendown"), Moved("RepoTakendown: x", "takendown"), id="taken down"
        ),
        pytest.param(Refused("x", error="RepoNotFound"), Moved("RepoNotFound: x"), id="not there"),
        pytest.param(Refused("x", status=403), Moved("x"), id="refused without a name"),
        pytest.param(Refused("x", status=200), Lost("x"), id="too large"),
        pytest.param(CarError(CarReason.TRUNCATED), Again("car_truncated"), id="broken off"),
        pytest.param(CarError(CarReason.HASH), Lost("block_hash_wrong"), id="a wrong hash"),
        pytest.param(MstError(MstReason.MISSING), Again("node_missing"), id="a node is missing"),
        pytest.param(MstError(MstReason.CYCLE), Lost("node_twice"), id="a circle"),
        pytest.param(SnapshotError(SnapshotReason.TOO_LARGE), Lost("snapshot_too_large"), id="grows without end"),
        pytest.param(Invalid(Failure.SIGNATURE), Lost("signature_wrong"), id="signed by somebody else"),
        pytest.param(Unresolvable("x"), Lost("identity_unresolved: x"), id="no such account"),
    ],
)
def test_what_follows_from_an_error(error: TallyError, verdict: Verdict) -> None:
    assert verdict_on(error) == verdict


def test_trouble_of_kafka_is_nothing_to_judge() -> None:
    with pytest.raises(ServiceError):
        verdict_on(ServiceError("x"))
