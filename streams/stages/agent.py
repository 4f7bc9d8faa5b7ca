"""The stages agent: stage events in, source states and verdicts out. All rules are in `fold.py`."""

import time
from collections.abc import Callable, Sequence

import msgspec

from streams.checkpointing import Record, Send
from streams.stages import fold
from streams.store import Written
from tallystick.contracts import stages as contract
from tallystick.contracts import timestamps, topics
from tallystick.contracts.catalogue import PIPELINES
from tallystick.contracts.dead_letters import DeadLetter
from tallystick.contracts.dead_letters import encode as encode_letter
from tallystick.logs import get_logger

log = get_logger(__name__)

SILENCE_CHECK_SECONDS = 5.0


class SourceFold:
    """The events of one source within a checkpoint."""

    def __init__(self, key: bytes, state: bytes | None, watch: "SilenceWatch") -> None:
        self._key, self._watch = key, watch
        self._state = contract.decode_state(state) if state else contract.SourceState(key.decode("utf-8", "replace"))
        self._follows: list[Send] = []

    def add(self, record: Record) -> None:
        """Take one stage event; what is none goes to the dead letters."""
        try:
            event = contract.decode_event(record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._follows.append(_letter(record, str(error)))
            return
        outcomes, commands = fold.apply(self._state, event, PIPELINES)
        for outcome in outcomes:
            self._follows.append(Send(topics.STAGE_OUTCOMES, self._key, contract.encode(outcome)))
            log.info(
                "verdict",
                source=outcome.source,
                stage=outcome.stage,
                attempt=outcome.attempt,
                projection=outcome.projection,
                verdict=outcome.verdict,
                reason=outcome.reason,
                claimed=outcome.claimed,
                observed=outcome.observed,
            )
        for command in commands:
            self._follows.append(Send(topics.STAGE_COMMANDS, self._key, contract.encode(command)))

    def state(self) -> bytes:
        """Return the encoded state of the source."""
        self._watch.note(self._state)
        return contract.encode(self._state)

    def follows(self) -> Sequence[Send]:
        """Return verdicts, commands and dead letters."""
        return self._follows


class StagesAggregate:
    """Opens folds of sources."""

    def __init__(self, watch: "SilenceWatch") -> None:
        self._watch = watch

    def open(self, key: bytes, state: bytes | None) -> SourceFold:
        """Return the fold of the source `key`."""
        return SourceFold(key, state, self._watch)

    def sealed(self, records: Sequence[Record], written: Sequence[Written]) -> Sequence[Send]:  # noqa: ARG002
        """Return nothing: what follows from a stage event is sent before the state."""
        return ()


class SilenceWatch:
    """Finds sources whose worker has fallen silent: running, and not heard of for longer than their pipeline allows.

    Time is measured here, by this process's monotonic clock, from the moment at which a word was first seen; the clocks
    of other hosts don't matter. `failures` returns events for the log, which the agent then judges like any other.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: dict[str, _Running] = {}

    def note(self, state: contract.SourceState) -> None:
        """Take the newest state of a source."""
        stage = _running_stage(state)
        known = self._running.get(state.source)
        if stage is None:
            self._running.pop(state.source, None)
        elif known is None or known.heard_at != state.heard_at:
            self._running[state.source] = _Running(
                state.kind, state.name, stage, state.attempt, heard_at=state.heard_at, since=self._clock()
            )

    def failures(self) -> list[contract.Failed]:
        """Return a presumed failure for each source that has been silent for too long, once."""
        now = self._clock()
        silent = {
            source: running
            for source, running in self._running.items()
            if now - running.since > PIPELINES[running.kind].silence_seconds
        }
        for source in silent:
            del self._running[source]
        return [
            contract.Failed(
                source=source,
                kind=running.kind,
                name=running.name,
                stage=running.stage,
                attempt=running.attempt,
                at=timestamps.now(),
                reason=f"no word from its worker for {now - running.since:.0f} s; if it isn't running, run it again",
                presumed=True,
            )
            for source, running in silent.items()
        ]


class _Running(msgspec.Struct, frozen=True):
    kind: str
    name: str
    stage: str
    attempt: int
    heard_at: str
    since: float


def _running_stage(state: contract.SourceState) -> str | None:
    pipeline = PIPELINES.get(state.kind)
    if pipeline is None:
        return None
    first = pipeline.stages[0].name
    shared = state.projections.get(fold.EVERYWHERE)
    stage = shared.stages.get(first) if shared else None
    return first if stage is not None and stage.verdict is None else None


def _letter(record: Record, problem: str) -> Send:
    letter = DeadLetter(
        source=record.key.decode("utf-8", "replace"),
        position=record.offset,
        reason="not a stage event",
        detail=problem,
        payload=record.value,
        origin="stages",
        at=timestamps.now(),
        topic=topics.STAGES.name,
        partition=record.partition,
        offset=record.offset,
        key=record.key.decode("utf-8", "backslashreplace"),
    )
    return Send(topics.DEAD_LETTERS, record.key, encode_letter(letter))
