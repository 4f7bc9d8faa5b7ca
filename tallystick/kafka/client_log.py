"""The log of librdkafka, with less repetition: while a broker is away, the same line comes twenty times a second."""

import logging
import time
from collections.abc import Callable

SECONDS = 10.0
_MOST_KNOWN = 1_000


class Sparing(logging.Filter):
    """Lets a message pass once in `SECONDS`, and tells then how often it was held back since."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._passed: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        message, now = record.getMessage(), self._clock()
        if now - self._passed.get(message, float("-inf")) < SECONDS:
            self._held_back[message] = self._held_back.get(message, 0) + 1
            return False
        if len(self._passed) >= _MOST_KNOWN:
            self._passed.clear()
            self._held_back.clear()
        self._passed[message] = now
        if times := self._held_back.pop(message, 0):
            record.msg, record.args = f"{message} (and {times} times since the last of these lines)", ()
        return True


librdkafka = logging.getLogger("tallystick.kafka.librdkafka")
"""The logger of every client."""
librdkafka.addFilter(Sparing())
