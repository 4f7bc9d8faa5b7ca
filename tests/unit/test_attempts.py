"""The producer's half of the tally: when a live source says how far it is."""

from collections.abc import Callable

import pytest

from producers.claims import Attempt
from tallystick.contracts.stages import Reach, Started, decode_event
from tallystick.contracts.topics import STAGES
from tallystick.settings import Settings
from tests.memory_publisher import MemoryPublisher


@pytest.mark.parametrize(
    ("reaches", "told"),
    [
        pytest.param([(0, 0), (0, 0)], [(0, 0)], id="nothing has come"),
        pytest.param([(0, 0), (5, 9)], [(0, 0), (5, 9)], id="something has come"),
        pytest.param([(0, 0), (9, 9)], [(0, 0), (9, 9)], id="something has come and is done with"),
        pytest.param([(3, 5), (5, 9)], [(3, 5)], id="it is behind and stays so"),
        pytest.param([(3, 5), (9, 9)], [(3, 5), (9, 9)], id="it was behind and is no longer"),
        pytest.param([(5, 5), (5, 9)], [(5, 5)], id="it was not behind and is now"),
    ],
)
def test_what_is_news_is_told_within_a_second(
    reaches: list[tuple[int, int]], told: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, at = [100.0], [Reach(*reaches[0])]
    monkeypatch.setattr("producers.claims.time.monotonic", lambda: now[0])
    publisher = MemoryPublisher()
    settings = Settings()
    attempt = _attempt(settings, publisher, lambda: at[0])
    attempt.start()
    at[0] = Reach(*reaches[1])
    attempt.beat()
    assert len(publisher.log) == 1, "not at once"
    now[0] += 1.0
    attempt.beat()
    attempt.beat()
    events = [decode_event(sent.value) for sent in publisher.of(settings.kafka.topic(STAGES))]
    found = [event.reach for event in events if isinstance(event, Started)]
    assert found == [Reach(*reach) for reach in told]


def _attempt(settings: Settings, publisher: MemoryPublisher, reach: Callable[[], Reach]) -> Attempt:
    return Attempt(
        settings, publisher, source="s", kind="atproto.firehose", name="a", stage="followed", number=1, reach=reach
    )
