"""More keys than memory holds come back in order, once each time they were added."""

from random import Random

import pytest

from tallystick.storage.sorting import SortedKeys


@pytest.mark.parametrize("run_keys", [1, 7, 100, 5000, 10_000])
def test_keys_come_in_order_whatever_is_held_in_memory(run_keys: int) -> None:
    chance = Random(run_keys)
    added = [chance.randrange(2000).to_bytes(4, "big") for _ in range(5000)]
    with SortedKeys(4, run_keys=run_keys) as keys:
        for key in added:
            keys.add(key)
        assert list(keys) == sorted(added)


def test_no_keys_are_none() -> None:
    with SortedKeys(4) as keys:
        assert list(keys) == []
