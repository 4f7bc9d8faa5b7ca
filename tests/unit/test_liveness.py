"""Progress as the sign of life: told as what Kafka says at one time after another."""

import pytest

from streams.liveness import StallWatch
from tallystick.errors import ServiceError
from tallystick.kafka.groups import Offsets, Place

EVENTS: Place = ("cowrie.events", 0)


class Told:
    """A group whose lag is given, look by look."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: Offsets | None = {}

    def behind(self) -> Offsets:
        if self.told is None:
            raise ServiceError("Kafka doesn't answer")
        return self.told

    def clock(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("looks", "stalled"),
    [
        pytest.param([(0, {}), (60, {})], [], id="nothing to do is no stall"),
        pytest.param([(0, {EVENTS: 5}), (19, {EVENTS: 5})], [], id="a short stand is no stall"),
        pytest.param([(0, {EVENTS: 5}), (21, {EVENTS: 5})], [EVENTS], id="work that nobody does is a stall"),
        pytest.param([(0, {EVENTS: 5}), (15, {EVENTS: 6}), (30, {EVENTS: 6})], [], id="any progress begins anew"),
        pytest.param([(0, {EVENTS: 5}), (15, None), (30, {EVENTS: 5})], [], id="so does Kafka's silence"),
        pytest.param([(0, {EVENTS: 5}), (15, {}), (30, {EVENTS: 5})], [], id="having caught up begins anew"),
    ],
)
def test_a_stall_is_work_without_progress(looks: list[tuple[float, Offsets | None]], stalled: list[Place]) -> None:
    told = Told()
    watch = StallWatch(told, clock=told.clock)
    found: list[Place] = []
    for told.now, told.told in looks:
        found = watch.stalled()
    assert found == stalled
