"""Whatever bytes a host sends: they become records, dead letters or a word, and never the end of the process."""

import asyncio
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from producers.atproto.directory import Identity
from producers.atproto.live.arrivals import Dropped
from tallystick.contracts.atproto import FIREHOSE_KIND, LABELS_KIND
from tests.atproto_world import frames
from tests.stream_world import KnownDirectory, World, identities


@cache
def captured(name: str) -> tuple[bytes, ...]:
    return tuple(frames(name))


@cache
def known() -> dict[str, Identity]:
    return identities()


@st.composite
def damaged(draw: st.DrawFn, name: str) -> list[bytes]:
    """A few frames in a row, some with other bytes in some places, some cut off, some twice."""
    out: list[bytes] = []
    for _ in range(draw(st.integers(1, 4))):
        frame = bytearray(captured(name)[draw(st.integers(0, len(captured(name)) - 1))])
        for _ in range(draw(st.integers(0, 3))):
            frame[draw(st.integers(0, min(len(frame), 700) - 1))] = draw(st.integers(0, 255))
        out.append(bytes(frame[: draw(st.integers(1, 2 * len(frame)))]))
    return out


async def arrive(messages: list[bytes], kind: str, validation: str) -> None:
    world = World("ws://host.test", kind=kind, directory=KnownDirectory(known(), known()), validation=validation)
    for message in messages:
        try:
            await world.arrivals.take(message)
        except Dropped as dropped:
            world.arrivals.tell(dropped, "connects again")
    for _ in range(20):
        await asyncio.sleep(0)
    world.handler.check()
    assert world.stream.settle(1.0)
    samples = {sample.name: sample.value for sample in world.stream.samples()}
    assert samples["tally_atproto_waiting_frames"] == 0, "nothing is held for ever"
    assert samples["tally_atproto_acknowledged_seq"] == samples["tally_atproto_received_seq"]


@settings(max_examples=150, deadline=None)
@given(damaged("repos.bin"), st.sampled_from(["off", "hash", "signature", "inductive"]))
def test_repositories(messages: list[bytes], validation: str) -> None:
    asyncio.run(arrive(messages, FIREHOSE_KIND, validation))


@settings(max_examples=100, deadline=None)
@given(damaged("labels.bin"), st.sampled_from(["hash", "signature"]))
def test_labels(messages: list[bytes], validation: str) -> None:
    asyncio.run(arrive(messages, LABELS_KIND, validation))
