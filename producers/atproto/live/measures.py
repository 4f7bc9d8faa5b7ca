"""What a stream counts and measures of itself, for `/metrics`."""

from collections import Counter
from enum import StrEnum

from tallystick.contracts.measures import Sample


class Measure(StrEnum):
    """The names, as Prometheus has them. All have the labels `host` and `stream`; further ones are named here."""

    RECEIVED_SEQ = "tally_atproto_received_seq"
    ACKNOWLEDGED_SEQ = "tally_atproto_acknowledged_seq"
    LAG_SECONDS = "tally_atproto_lag_seconds"
    """How long ago, by the host's clock, the newest event was that has come."""
    WAITING_FRAMES = "tally_atproto_waiting_frames"
    WAITING_BYTES = "tally_atproto_waiting_bytes"
    CURSOR_AGE_SECONDS = "tally_atproto_cursor_age_seconds"
    """How long ago the oldest event came that the cursor is not past."""
    CONNECTED = "tally_atproto_connected"
    FRAMES = "tally_atproto_frames_total"
    """`type`: commit, sync, identity, account, labels, info, error, text, unknown, unreadable."""
    BYTES = "tally_atproto_bytes_total"
    RECORDS = "tally_atproto_records_total"
    """`topic`."""
    OPERATIONS = "tally_atproto_operations_total"
    """`action`."""
    FILTERED = "tally_atproto_filtered_total"
    """`reason`: account (frames), collection, language (operations)."""
    REJECTED = "tally_atproto_rejected_total"
    """`reason`: that of the dead letter."""
    IGNORED = "tally_atproto_ignored_total"
    """`reason`: text, unknown, repeat, misplaced, info."""
    MISSING = "tally_atproto_missing_total"
    """Numbers that were left out within gaps."""
    RECONNECTS = "tally_atproto_reconnects_total"
    """`reason`: the kind of the notice."""
    NOTICES = "tally_atproto_notices_total"
    """`kind`."""
    BACKPRESSURE_SECONDS = "tally_atproto_backpressure_seconds_total"
    """For how long the socket was not read, because too much was waiting."""


class Measures:
    """The counters of one stream, from the start of its process."""

    def __init__(self, *, host: str, stream: str) -> None:
        self._labels = {"host": host, "stream": stream}
        self._counts: Counter[tuple[Measure, str, str]] = Counter()
        self.held = 0.0
        """For how many seconds the socket was not read."""

    def count(self, measure: Measure, amount: int = 1, **label: str) -> None:
        """Add to a counter; `label` is the one that it has besides host and stream, if it has one."""
        name, value = next(iter(label.items()), ("", ""))
        self._counts[measure, name, value] += amount

    def hold(self, seconds: float) -> None:
        """Add to the seconds for which the socket was not read."""
        self.held += seconds

    def of(self, measure: Measure, value: str = "") -> int:
        """Return a counter, by the value of its label."""
        return sum(count for (name, _, found), count in self._counts.items() if (name, found) == (measure, value))

    def samples(self, gauges: dict[Measure, float]) -> list[Sample]:
        """Return all counters, and `gauges`, as they are now."""
        counters = [
            Sample(measure.value, count, {**self._labels, **({name: value} if name else {})})
            for (measure, name, value), count in self._counts.items()
        ]
        counters.append(Sample(Measure.BACKPRESSURE_SECONDS.value, self.held, self._labels))
        return counters + [
            Sample(measure.value, value, self._labels, kind="gauge") for measure, value in gauges.items()
        ]
