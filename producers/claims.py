"""The producer's half of the tally: what one attempt at a source says in `stages`."""

import time
from collections.abc import Callable

from tallystick.contracts import stages, timestamps
from tallystick.contracts.sources import Ends
from tallystick.contracts.topics import STAGES
from tallystick.kafka.publisher import Delivered, Publisher
from tallystick.settings import Settings

_NEWS_SECONDS = 1.0


class Attempt:
    """One attempt at one stage of one source. Not thread-safe. Every method may raise ServiceError."""

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        *,
        source: str,
        kind: str,
        name: str,
        stage: str,
        number: int,
        reach: Callable[[], stages.Reach] | None = None,
        projection: str = "",
        until: str = "",
        run: int = 0,
    ) -> None:
        """`reach` is asked for what each heartbeat tells of a live source.

        `projection` names the database whose verdict commanded the stage, `run` is the fencing token, where there are.
        """
        self.source, self.kind, self.name, self.stage, self.number = source, kind, name, stage, number
        self._publisher, self._reach = publisher, reach
        self._projection, self._until, self._run = projection, until, run
        self._topic = settings.kafka.topic(STAGES)
        self._every = settings.reader.heartbeat_seconds
        self._told = float("-inf")
        self._reached: stages.Reach | None = None

    def start(self) -> None:
        """Say that the attempt has begun."""
        self._told, self._reached = time.monotonic(), self._reach() if self._reach else None
        self._send(
            stages.Started(
                source=self.source,
                kind=self.kind,
                name=self.name,
                stage=self.stage,
                attempt=self.number,
                at=timestamps.now(),
                projection=self._projection,
                reach=self._reached,
                until=self._until,
            )
        )

    def beat(self) -> None:
        """Say again that the attempt is under way, where the last word is older than a heartbeat. Cheap: call often.

        Of a live source that was said to be behind it is said sooner that it no longer is; likewise of one of which
        nothing had come that something has.
        """
        passed = time.monotonic() - self._told
        if passed >= self._every or (passed >= _NEWS_SECONDS and self._has_news()):
            self.start()

    def claim(self, *, counts: dict[str, int], ends: Ends, digest: str, on_delivery: Delivered | None = None) -> None:
        """Say what was emitted since the beginning of the source; all of it must be acknowledged."""
        self._send(
            stages.Claimed(
                source=self.source,
                kind=self.kind,
                name=self.name,
                stage=self.stage,
                attempt=self.number,
                at=timestamps.now(),
                counts=counts,
                ends=ends,
                digest=digest,
                run=self._run,
            ),
            on_delivery,
        )

    def fail(self, reason: str, *, exit_code: int | None = None, on_delivery: Delivered | None = None) -> None:
        """Say that the attempt has failed, and why."""
        self._send(
            stages.Failed(
                source=self.source,
                kind=self.kind,
                name=self.name,
                stage=self.stage,
                attempt=self.number,
                at=timestamps.now(),
                reason=reason,
                projection=self._projection,
                exit_code=exit_code,
            ),
            on_delivery,
        )

    def _has_news(self) -> bool:
        told = self._reached
        if self._reach is None or told is None or (told.end and told.position >= told.end):
            return False
        now = self._reach()
        return now.position >= now.end if told.end else now.end > 0

    def _send(self, event: stages.StageEvent, on_delivery: Delivered | None = None) -> None:
        self._publisher.send(self._topic, key=self.source.encode(), value=stages.encode(event), on_delivery=on_delivery)
