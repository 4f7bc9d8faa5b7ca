"""A follower in a world without Kafka: real files, a clock that is turned by hand, and followers that may die."""

import dataclasses
from pathlib import Path

from producers.checkpoints import Checkpoints
from producers.cowrie.following.follower import Follower, Group
from producers.cowrie.reading import Tools
from producers.progress import FileOutcome
from tallystick.contracts.stages import Claimed
from tallystick.settings import FollowSettings, ReaderSettings, Settings
from tests.reading_world import Killed, World, dies_after

QUIET_SECONDS = 5.0


class FollowingWorld(World):
    """Topics that outlive the followers that write to them, and one follower at a time."""

    def __init__(self, *paths: Path | str, idle_seconds: float = 60.0, **reader: float) -> None:
        super().__init__(**reader)
        self.settings = Settings(
            reader=ReaderSettings.model_validate(reader),
            follow=FollowSettings(quiet_seconds=QUIET_SECONDS, idle_seconds=idle_seconds, checkpoint_seconds=1e-9),
        )
        self.now = 1_000.0
        self.outcomes: list[FileOutcome] = []
        self._paths = [("unknown", "", tuple(str(path) for path in paths))]
        self.start()

    def follow_too(self, sensor: str, *paths: Path | str, zone: str = "") -> None:
        """Start a follower that follows files of another sensor as well."""
        self._paths.append((sensor, zone, tuple(str(path) for path in paths)))
        self.close()
        self.start()

    def start(self) -> None:
        """Start a follower from the checkpoints."""
        checkpoints = Checkpoints(self.settings, self.publisher, self.checkpoints())
        tools = Tools(self.settings, self.publisher, checkpoints, "unknown", lambda: False, self.progress.append)
        groups = [
            Group(paths, dataclasses.replace(tools, sensor=sensor, zone=zone)) for sensor, zone, paths in self._paths
        ]
        self.follower = Follower(groups, on_outcome=self.outcomes.append, clock=lambda: self.now)

    def pass_time(self, seconds: float = 1.0) -> None:
        """Let the follower look, and do all that there is to do."""
        self.now += seconds
        while self.follower.turn((), look_every=0.5):
            self.publisher.poll(1.0)
        self.publisher.poll(1.0)
        self.follower.turn((), look_every=0.5)

    def come_to_rest(self) -> None:
        """Let so much time pass that everything that is complete is claimed."""
        for _ in range(6):
            self.pass_time(QUIET_SECONDS + 1)

    def die(self, *, records: int = 0, kept: int = 0) -> None:
        """Let the follower work until it has sent `records` more, and die; Kafka has `kept` of the unacknowledged."""
        self.publisher.before_send = dies_after(records)
        try:
            self.pass_time()
        except Killed:
            pass
        finally:
            self.publisher.before_send = None
        self.publisher.lose(keep=kept)
        self.close()
        self.start()

    def close(self) -> None:
        """Close what the follower holds open, as the end of its process does."""
        for tail in self.follower._tails.values():
            tail._close()

    def holds(self, source: str | None) -> bool:
        """Whether the follower holds the file of a source open."""
        tail = self.follower._tails.get(source or "")
        return tail is not None and tail.holds_a_file and not tail.lost

    def lines(self) -> list[bytes]:
        """Every event that was sent, repeats included."""
        return [line for _, _, line in self.events()]

    def claims(self) -> list[Claimed]:
        """The claims, in the order in which they were made."""
        return self.stage_events(Claimed)
