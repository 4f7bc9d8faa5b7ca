"""The whole catalogue: the spine's topics and those of every kind of source; add a new kind here."""

from tallystick.contracts import cowrie
from tallystick.contracts.pipelines import Pipeline
from tallystick.contracts.topics import SPINE, Topic

TOPICS: tuple[Topic, ...] = (*SPINE, *cowrie.TOPICS)
PIPELINES: dict[str, Pipeline] = {pipeline.kind: pipeline for pipeline in (cowrie.PIPELINE,)}
