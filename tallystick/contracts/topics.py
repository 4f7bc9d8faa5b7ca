"""The topic catalogue: every topic that Tallystick writes, as data."""

from typing import Literal

import msgspec

MAX_RECORD_BYTES = 16 * 1024 * 1024
"""The largest record that any topic takes, in bytes (`max.message.bytes`); a log line may have 12 MiB of it."""


class Topic(msgspec.Struct, frozen=True):
    """One topic of the catalogue.

    `scaled` topics have as many partitions as `kafka.partitions` says; they are co-partitioned, so that a Faust table
    and its source always agree. The others have one partition.
    """

    name: str
    key: str
    value: str
    owner: str
    summary: str
    scaled: bool = True
    cleanup: Literal["delete", "compact"] = "delete"

    def partitions(self, scale: int) -> int:
        """Return the number of partitions where `kafka.partitions` is `scale`."""
        return scale if self.scaled else 1

    def config(self, retention_ms: int) -> dict[str, str]:
        """Return the broker's configuration of this topic; `retention_ms` -1 keeps all, as compacted topics do.

        `LogAppendTime`, because under a finite retention a broker deletes records with an old event time at once.
        """
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": "-1" if self.cleanup == "compact" else str(retention_ms),
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(MAX_RECORD_BYTES),
        }


SOURCE_POSITIONS = Topic(
    name="source.positions",
    key="source id",
    value="Checkpoint",
    owner="producers",
    summary="How far each source has been read and acknowledged by Kafka: where a reader resumes, on any host.",
    scaled=False,
    cleanup="compact",
)
STAGES = Topic(
    name="stages",
    key="source id",
    value="StageEvent",
    owner="producers, streams, sinks",
    summary="What workers claim and what observers saw: started, claimed, observed, reported, failed.",
)
SOURCE_STAGES = Topic(
    name="source.stages",
    key="source id",
    value="SourceState",
    owner="streams/stages",
    summary="The newest state of each source: its claim, its observations and the verdict on each stage.",
    cleanup="compact",
)
STAGE_OUTCOMES = Topic(
    name="stage.outcomes",
    key="source id",
    value="Outcome",
    owner="streams/stages",
    summary="Each verdict, once it has been reached: succeeded, mismatch or failed.",
)
STAGE_COMMANDS = Topic(
    name="stage.commands",
    key="source id",
    value="Command",
    owner="streams/stages",
    summary="Work that a verdict has set free: the next stage of a source, for whoever does it.",
)
DEAD_LETTERS = Topic(
    name="dead.letters",
    key="source id",
    value="DeadLetter",
    owner="producers, streams, sinks",
    summary="What could not be taken as an event: its bytes, its source, its position and the reason.",
)
TASK_EXITS = Topic(
    name="task.exits",
    key="task",
    value="TaskExit",
    owner="supervisors",
    summary="Each end of a supervised task: why it ended, with which code, and what was done about it.",
    scaled=False,
)

SPINE = (SOURCE_POSITIONS, STAGES, SOURCE_STAGES, STAGE_OUTCOMES, STAGE_COMMANDS, DEAD_LETTERS, TASK_EXITS)
"""The topics that every kind of source shares."""
