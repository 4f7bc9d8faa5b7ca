"""Offsets of a consumer that does many records at once: one is committed when it and all before it are done."""

from collections import deque


class Offsets:
    """What of each partition is begun, and what done. Pure: the consumer is told by who holds it."""

    def __init__(self) -> None:
        self._begun: dict[int, deque[int]] = {}
        self._done: dict[int, set[int]] = {}
        self._ready: dict[int, int] = {}

    def begin(self, partition: int, offset: int) -> None:
        """Note a record that was taken; those of one partition come in order."""
        self._begun.setdefault(partition, deque()).append(offset)
        self._done.setdefault(partition, set())

    def done(self, partition: int, offset: int) -> None:
        """Note that nothing more is to be done for a record; one of a partition that was given away is nobody's."""
        begun = self._begun.get(partition)
        if not begun:
            return
        done = self._done[partition]
        done.add(offset)
        while begun and begun[0] in done:
            done.discard(first := begun.popleft())
            self._ready[partition] = first + 1

    def ready(self) -> dict[int, int]:
        """Return the offsets to commit, by partition, that were not returned before."""
        ready, self._ready = self._ready, {}
        return ready

    def forget(self) -> None:
        """Forget everything: the partitions are given away, and what comes now comes from where was committed."""
        self._begun.clear()
        self._done.clear()
        self._ready.clear()
