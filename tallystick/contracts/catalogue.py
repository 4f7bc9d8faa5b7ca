"""The whole catalogue: the spine's topics and those of every kind of source; add a new kind here."""

from typing import Any

from tallystick.contracts import atproto, cowrie, media
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.pipelines import Pipeline
from tallystick.contracts.sources import Checkpoint
from tallystick.contracts.stages import Command, Outcome, SourceState, StageEvent
from tallystick.contracts.tasks import TaskExit
from tallystick.contracts.topics import SPINE, Topic

TOPICS: tuple[Topic, ...] = (*SPINE, *cowrie.TOPICS, *media.TOPICS, *atproto.TOPICS)
PIPELINES: dict[str, Pipeline] = {
    pipeline.kind: pipeline
    for pipeline in (
        cowrie.PIPELINE,
        cowrie.IMPORT_PIPELINE,
        cowrie.KAFKA_PIPELINE,
        cowrie.RETRY_PIPELINE,
        *media.PIPELINES,
        *atproto.PIPELINES,
    )
}
VALUES: dict[str, Any] = {
    "Checkpoint": Checkpoint,
    "StageEvent": StageEvent,
    "SourceState": SourceState,
    "Outcome": Outcome,
    "Command": Command,
    "DeadLetter": DeadLetter,
    "SessionState": cowrie.SessionState,
    "Medium": media.Medium,
    "Run": media.Run,
    "RepositoryEvent": atproto.RepositoryEvent,
    "Repository": atproto.Repository,
    "Fetch": atproto.Fetch,
    "Account": atproto.Account,
    "Identity": atproto.Identity,
    "Label": atproto.Label,
    "Notice": atproto.Notice,
    "TaskExit": TaskExit,
}
"""The type behind each `Topic.value` that is a JSON document; the values of the other topics are slices."""
