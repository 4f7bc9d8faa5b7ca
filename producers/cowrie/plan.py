"""What is to be re-keyed: a topic, from where and how far."""

from enum import StrEnum

import msgspec


class Begin(StrEnum):
    """Where a partition begins that was never read."""

    BEGINNING = "beginning"
    END = "end"


class Until(StrEnum):
    """When re-keying is over: once it is told to stop, or at the ends that the partitions had when it began."""

    STOPPED = "stopped"
    END = "end"


class Plan(msgspec.Struct, frozen=True):
    """What to re-key. `bootstrap_servers` None is our own Kafka; `sensor` is that of events that name none."""

    topic: str
    sensor: str | None = None
    bootstrap_servers: str | None = None
    begin: Begin = Begin.BEGINNING
    until: Until = Until.STOPPED
