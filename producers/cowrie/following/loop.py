"""`tally run reader --follow`: the loop around the follower, which waits for changes and for the time to look."""

from collections.abc import Callable, Sequence
from pathlib import Path

from producers.checkpoints import Checkpoints, read_checkpoints
from producers.cowrie.following.follower import Follower, Group
from producers.cowrie.following.notices import Notices
from producers.cowrie.reading import Tools
from producers.cowrie.selection import Followed
from producers.outlet import STOP_SECONDS
from producers.progress import FileOutcome, Progress
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings

LINGER_MS = 5
"""How long the follower's producer waits for more records: short, since somebody waits for what a live log says."""


def follow_logs(
    settings: Settings,
    followed: Sequence[Followed],
    *,
    stop: Callable[[], bool],
    on_progress: Callable[[Progress], None],
    on_outcome: Callable[[FileOutcome], None],
) -> None:
    """Follow log files, each as `followed` says, until `stop` returns True, and claim each one that is complete.

    `on_outcome` is called with what came of a file once it is claimed, or was interrupted; `on_progress` when a file
    begins and ends. Nothing that befalls a file ends it. Raises ServiceError where Kafka refuses a record or can't be
    asked for the positions.
    """
    publisher = Publisher(settings, client_id="follower", linger_ms=LINGER_MS)
    checkpoints = Checkpoints(settings, publisher, read_checkpoints(settings))
    groups = [
        Group(
            tuple(str(Path(path).absolute()) for path in one.paths),
            Tools(settings, publisher, checkpoints, one.sensor, stop, on_progress, zone=one.zone),
        )
        for one in followed
    ]
    absolute = [path for group in groups for path in group.paths]
    bounds = settings.follow
    follower = Follower(groups, on_outcome=on_outcome)
    with Notices(absolute, watching=bounds.watch == "notify") as notices:
        changed: set[str] = set()
        while not stop():
            every = bounds.rescan_seconds if notices.complete else min(bounds.poll_seconds, bounds.rescan_seconds)
            more = follower.turn(changed, look_every=every)
            notices.renew()
            changed = notices.wait(0.0 if more else follower.patience)
    follower.stop()
    publisher.flush(STOP_SECONDS)
