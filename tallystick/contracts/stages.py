"""Stages: claims, observations, verdicts: what travels in `stages`, `source.stages` and the two topics after them.

A producer claims, sinks observe, and only `streams/stages` says whether the two tally. All counts are cumulative over
the life of a source, so a message that is sent twice changes nothing. Times are canonical (`contracts/timestamps.py`).
"""

from enum import StrEnum

import msgspec

from tallystick.contracts.sources import Ends


class Verdict(StrEnum):
    """The three ways in which a stage ends."""

    SUCCEEDED = "succeeded"
    MISMATCH = "mismatch"
    FAILED = "failed"


class Reach(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a source that is still growing has been taken, in its own positions: bytes of a log, offsets of a topic.

    All before `position` is acknowledged by Kafka, `end` is where the source ended at that time. `since` is when the
    oldest part between the two was there at the latest; empty where there is none.
    """

    position: int
    end: int
    since: str = ""


class Started(msgspec.Struct, tag="started", tag_field="event", frozen=True, omit_defaults=True):
    """A worker has begun `attempt` at `stage`. Sent again as its heartbeat, with a later `at`.

    `reach` is only given of a source that is live: somebody still writes to it, so it is not claimed yet.
    `until`, where the attempt begins, names the last stage that it goes to; without it, to the end of the pipeline.
    """

    source: str
    kind: str
    name: str
    stage: str
    attempt: int
    at: str
    projection: str = ""
    reach: Reach | None = None
    until: str = ""


class Claimed(msgspec.Struct, tag="claimed", tag_field="event", frozen=True, omit_defaults=True):
    """A worker has finished `attempt` at `stage` and says what it emitted since the beginning of the source.

    `counts` are named totals (`lines`, `events`, `dead`, `blank`, `bytes`); `ends` tells where in Kafka they end.
    `counts["lines"]` must be the sum of events, dead and blank, else the stage is a mismatch at once.
    `run` is the worker's fencing token, where it has one: the claim of a lower one no longer counts.
    """

    source: str
    kind: str
    name: str
    stage: str
    attempt: int
    at: str
    counts: dict[str, int]
    ends: Ends
    digest: str = ""
    run: int = 0


class Passed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an observer has committed of one source from one partition, in total.

    `offset` is the one after the last record of the source that is committed. Each event of the source is counted once
    as `inserted`, as already `present` (the same event came from elsewhere), or as `dead`.
    """

    offset: int
    inserted: int = 0
    present: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        """All events seen."""
        return self.inserted + self.present + self.dead


class Observed(msgspec.Struct, tag="observed", tag_field="event", frozen=True, omit_defaults=True):
    """An observer has committed records of a source.

    `projection` names the database that it writes to, and is empty for an agent, which writes to Kafka. `produced` is
    what an agent wrote in turn: per partition of its changelog, the offset after the last record about this source.
    `attempt` is only given by the observer that records claims: the attempt whose claim the database now holds.
    """

    source: str
    observer: str
    projection: str
    at: str
    partitions: dict[int, Passed] = {}
    produced: dict[int, int] = {}
    attempt: int = 0


class Reported(msgspec.Struct, tag="reported", tag_field="event", frozen=True, omit_defaults=True):
    """A commanded worker has looked for itself.

    The agent compares `found`, name by name, with `expected`; of a look (`pipelines.Inspected`) with the claim, and
    `digest` too, where it is of the same `run`.
    """

    source: str
    stage: str
    attempt: int
    projection: str
    at: str
    expected: dict[str, int]
    found: dict[str, int]
    detail: str = ""
    digest: str = ""
    run: int = 0


class Failed(msgspec.Struct, tag="failed", tag_field="event", frozen=True, omit_defaults=True):
    """A worker failed, died or fell silent. `exit_code` is negative for a signal, as in `subprocess`.

    `presumed` says that somebody else concluded it (the supervisor, or a clock): the worker's own claim of the same
    attempt outranks it. A worker that claims what it could read of a damaged source sends its `Failed` first.
    """

    source: str
    kind: str
    name: str
    stage: str
    attempt: int
    at: str
    reason: str
    projection: str = ""
    exit_code: int | None = None
    presumed: bool = False


StageEvent = Started | Claimed | Observed | Reported | Failed


class StageState(msgspec.Struct, omit_defaults=True):
    """How one stage stands. No `verdict` yet: it is running or waiting. `claimed` and `observed` count events.

    `looked` is the run whose claim a look was commanded for last.
    """

    attempt: int
    verdict: Verdict | None = None
    reason: str = ""
    presumed: bool = False
    claimed: int = 0
    observed: int = 0
    started_at: str = ""
    ended_at: str = ""
    looked: int = 0


class Projection(msgspec.Struct, omit_defaults=True):
    """What one database (or, under the empty name, Kafka itself) holds of a source.

    `succeeded` holds, by stage, the last claim that a look has found to be true; it outlives its attempt.
    """

    observations: dict[str, Observed] = {}
    reports: dict[str, Reported] = {}
    stages: dict[str, StageState] = {}
    succeeded: dict[str, Claimed] = {}


class SourceState(msgspec.Struct, omit_defaults=True):
    """All that is known of a source: the value of `source.stages`. `revision` grows with every change.

    `reach` is that of the last heartbeat, of a source that is live; none once it is claimed or has failed.
    `until` names the last stage of the attempt, where it doesn't go to the end.
    """

    source: str
    kind: str = ""
    name: str = ""
    attempt: int = 0
    revision: int = 0
    heard_at: str = ""
    claims: dict[str, Claimed] = {}
    projections: dict[str, Projection] = {}
    reach: Reach | None = None
    until: str = ""


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """A verdict that has just been reached: the value of `stage.outcomes`. Sent again after a crash."""

    source: str
    kind: str
    name: str
    stage: str
    attempt: int
    projection: str
    verdict: Verdict
    reason: str
    claimed: int
    observed: int
    at: str


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stage that may begin: the value of `stage.commands`. Sent again after a crash; the worker repeats the work.

    `look` asks for the second half of a stage that is inspected: a report on what `run` claimed, by somebody who did
    not do the work.
    """

    source: str
    kind: str
    name: str
    stage: str
    attempt: int
    projection: str
    at: str
    look: bool = False
    run: int = 0


encode = msgspec.json.Encoder().encode
decode_event = msgspec.json.Decoder(StageEvent).decode
decode_state = msgspec.json.Decoder(SourceState).decode
decode_outcome = msgspec.json.Decoder(Outcome).decode
decode_command = msgspec.json.Decoder(Command).decode
