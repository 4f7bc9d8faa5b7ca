"""The log of librdkafka: a line that repeats is written now and then, with how often it came."""

import logging

from tallystick.kafka.client_log import SECONDS, Sparing


def test_a_repeated_line_passes_once_in_a_while_and_tells_how_often_it_came() -> None:
    now = 0.0
    sparing = Sparing(clock=lambda: now)

    def said(message: str) -> str | None:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "%s", (message,), None)
        return record.getMessage() if sparing.filter(record) else None

    assert [said("refused"), said("refused"), said("another"), said("refused")] == ["refused", None, "another", None]
    now = SECONDS
    assert said("refused") == "refused (and 2 times since the last of these lines)"
    now += SECONDS
    assert said("refused") == "refused"
