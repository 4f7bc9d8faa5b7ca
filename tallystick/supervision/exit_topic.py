"""Exits on their way to `task.exits`: kept until Kafka has acknowledged them, and bounded."""

import time
from collections.abc import Callable
from typing import Protocol

from tallystick.contracts.tasks import TaskExit, encode
from tallystick.contracts.topics import TASK_EXITS
from tallystick.errors import TallyError
from tallystick.kafka.publisher import Delivered, Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings

MOST_UNSENT = 1_000
"""So many exits may wait for Kafka; of those beyond only the log and the files of tasks know."""
RETRY_SECONDS = 30.0
"""After a refusal by Kafka it is tried again, with another client, so much later."""

log = get_logger(__name__)


class Sender(Protocol):
    """What is needed of a `Publisher`."""

    def send(self, topic: str, *, key: bytes, value: bytes, on_delivery: Delivered | None = None) -> None:
        """Queue a record."""

    def poll(self, seconds: float = ..., /) -> None:
        """Run the callbacks of acknowledged records."""


def make_sender(settings: Settings) -> Sender:
    """Return a client for exits."""
    return Publisher(settings, client_id="exits", linger_ms=0)


class ExitTopic:
    """Sends exits without ever blocking its supervisor, or ending it: Kafka may be away, or refuse them."""

    def __init__(
        self,
        settings: Settings,
        *,
        keep: Callable[[list[TaskExit]], None],
        make: Callable[[Settings], Sender] = make_sender,
        most: int = MOST_UNSENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keep` is given all exits that aren't acknowledged, whenever there are others than before."""
        self._settings, self._keep, self._make, self._most, self._clock = settings, keep, make, most, clock
        self._topic = settings.kafka.topic(TASK_EXITS)
        self._unsent: dict[int, TaskExit] = {}
        self._number = 0
        self._sender: Sender | None = None
        self._again_at = float("-inf")

    @property
    def unsent(self) -> list[TaskExit]:
        """What Kafka has not acknowledged, the oldest first."""
        return list(self._unsent.values())

    @property
    def waiting(self) -> int:
        """How many exits Kafka has not acknowledged. Any thread may ask."""
        return len(self._unsent)

    def send(self, exits: list[TaskExit]) -> None:
        """Send exits, or keep them until they can be sent."""
        room = max(self._most - len(self._unsent), 0)
        for exit_ in exits[room:]:
            log.warning("an exit is not sent: too many wait for Kafka", task=exit_.task, waiting=self._most)
        taken = {self._number + place: exit_ for place, exit_ in enumerate(exits[:room])}
        self._number += len(taken)
        self._unsent.update(taken)
        if taken:
            self._keep(self.unsent)
            if self._sender is not None:
                self._guarded(lambda: self._hand_over(taken))
        self.look()

    def look(self) -> None:
        """Hear what Kafka has acknowledged; after a refusal, try again once it is time."""
        if not self._unsent:
            return
        if self._sender is None:
            if self._clock() < self._again_at:
                return
            self._guarded(self._begin)
        self._guarded(lambda: self._poll(0.0))

    def close(self, seconds: float) -> bool:
        """Wait up to `seconds` for the acknowledgement of all; return whether all are acknowledged."""
        deadline = self._clock() + seconds
        while self._unsent and self._clock() < deadline:
            self.look()
            if self._sender is None:
                break
            self._guarded(lambda: self._poll(0.05))
        return not self._unsent

    def _begin(self) -> None:
        self._sender = self._make(self._settings)
        self._hand_over(self._unsent)

    def _hand_over(self, exits: dict[int, TaskExit]) -> None:
        assert self._sender is not None  # noqa: S101  (both callers see to it)
        for number, exit_ in list(exits.items()):
            self._sender.send(
                self._topic, key=exit_.task.encode(), value=encode(exit_), on_delivery=self._delivered(number)
            )

    def _delivered(self, number: int) -> Delivered:
        def acknowledged(_partition: int, _offset: int) -> None:
            self._unsent.pop(number, None)
            self._keep(self.unsent)

        return acknowledged

    def _poll(self, seconds: float) -> None:
        if self._sender is not None:
            self._sender.poll(seconds)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except TallyError as error:
            log.warning("Kafka takes no exits; they are kept", error=str(error), again_in_seconds=RETRY_SECONDS)
            self._sender, self._again_at = None, self._clock() + RETRY_SECONDS
