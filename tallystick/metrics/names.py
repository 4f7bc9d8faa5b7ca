"""The metrics that every service has, as data: their names, and what they mean."""

from typing import Literal

import msgspec


class Metric(msgspec.Struct, frozen=True):
    """One metric. A counter's name ends in `_total`."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["counter", "gauge"]:
        """What Prometheus is to take it for."""
        return "counter" if self.name.endswith("_total") else "gauge"


EXITS = Metric("tally_task_exits_total", "Ends of a task since the service was started.", ("task", "reason"))
RESTARTS = Metric("tally_task_restarts_total", "Restarts of a task since the service was started.", ("task",))
UP = Metric("tally_task_up", "Whether a process of the task runs.", ("task",))
LAST_EXIT = Metric("tally_task_last_exit_timestamp_seconds", "When the task ended last, since 1970.", ("task",))
LAST_CODE = Metric(
    "tally_task_last_exit_code", "Its exit code then; the negative number of the signal that ended it.", ("task",)
)
UNSENT = Metric("tally_task_exits_unsent", "Exits that Kafka has not acknowledged.")
MALFORMED = Metric("tally_measures_malformed_total", "Lines and samples of a task that could not be taken.", ("task",))
DROPPED = Metric("tally_measures_dropped_total", "Samples of a task beyond its most series.", ("task",))
STARTED = Metric("process_start_time_seconds", "When the service was started, since 1970.")
BUILD = Metric("tally_build_info", "Always 1: the labels tell which version runs.", ("version", "python"))

SERVICE_METRICS = (EXITS, RESTARTS, UP, LAST_EXIT, LAST_CODE, UNSENT, MALFORMED, DROPPED, STARTED, BUILD)
"""All of them, in the order in which they are shown."""
