"""Progress as the sign of life: told as what Kafka says at one time after another."""

from collections.abc import Mapping

import pytest

from streams.liveness import Place, StallWatch

EVENTS: Place = ("cowrie.events", 0)


class Told:
    """A group whose lag is given, look by look."""

    def __init__(self) -> None:
        self.now = 0.0
        self.behind: Mapping[Place, int] = {}

    def committed(self) -> Mapping[Place, int]:
        return self.behind

    def clock(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("looks", "stalled"),
    [
        pytest.param([(0, {}), (60, {})], [], id="nothing to do is no stall"),
        pytest.param([(0, {EVENTS: 5}), (19, {EVENTS: 5})], [], id="a short stand is no stall"),
        pytest.param([(0, {EVENTS: 5}), (21, {EVENTS: 5})], [EVENTS], id="work that nobody does is a stall"),
        pytest.param([(0, {EVENTS: 5}), (15, {EVENTS: 6}), (30, {EVENTS: 6})], [], id="any progress begins anew"),
        pytest.param([(0, {EVENTS: 5}), (15, {}), (30, {EVENTS: 5})], [], id="having caught up begins anew"),
    ],
)
def test_a_stall_is_work_without_progress(looks: list[tuple[float, dict[Place, int]]], stalled: list[Place]) -> None:
    told = Told()
    watch = StallWatch(told, clock=told.clock)
    found: list[Place] = []
    for told.now, told.behind in looks:
        found = watch.stalled()
    assert found == stalled
