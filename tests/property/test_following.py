"""Whatever is done to a live log while it is followed: each finished line arrives once, and nothing else does.

Random actions are carried out on real files, and on a model that only knows which lines were finished.
"""

import bz2
import gzip
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.contracts.sources import log_source_id
from tests.following_world import FollowingWorld

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress}
NUMBER = st.integers(0, 3)
ACTIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 5)),
    st.tuples(st.just("write a part"), st.integers(1, 70)),
    st.tuples(st.just("rotate"), st.booleans()),
    st.tuples(st.just("compress"), NUMBER, st.sampled_from(sorted(COMPRESSIONS)), st.booleans()),
    st.tuples(st.just("copy and truncate"), st.booleans()),
    st.tuples(st.just("rename an archive"), NUMBER),
    st.tuples(st.just("delete")),
    st.tuples(st.just("pause"), st.sampled_from([0.1, 1.0, 6.0])),
    st.tuples(st.just("die"), st.integers(0, 12), st.integers(0, 4)),
    st.tuples(st.just("restart")),
)


class Writer:
    """Writes a log as Cowrie and logrotate do, and remembers which lines it has finished."""

    def __init__(self, folder: Path, world: FollowingWorld) -> None:
        self.folder, self.world = folder, world
        self.live = folder / "cowrie.json"
        self.finished: list[bytes] = []
        self._part = b""
        self._numbers = itertools.count()
        self._names = itertools.count(1)

    def act(self, action: str, *arguments: Any) -> None:
        step: Callable[..., None] = getattr(self, "_" + action.replace(" ", "_"))
        step(*arguments)

    def end(self) -> None:
        self._rotate(look_between=True)
        self.world.come_to_rest()

    def _next_line(self) -> bytes:
        number = next(self._numbers)
        at = f"2026-11-23T03:{number // 60 % 60:02}:{number % 60:02}.000000Z"
        return b'{"eventid":"cowrie.%d","timestamp":"%s","session":"s%d"}\n' % (number, at.encode(), number % 3)

    def _write(self, path: Path, data: bytes) -> None:
        with path.open("ab") as file:
            file.write(data)

    def _finish(self, path: Path) -> None:
        if self._part:
            self._write(path, self._part)
            self._part = b""

    def _append(self, lines: int) -> None:
        self._finish(self.live)
        for _ in range(lines):
            self.finished.append(self._next_line())
            self._write(self.live, self.finished[-1])

    def _write_a_part(self, size: int) -> None:
        self._append(1)
        line = self._next_line()
        size = min(size, len(line) - 1)
        self._write(self.live, line[:size])
        self._part = line[size:]
        self.finished.append(line)

    def _rotate(self, look_between: bool) -> None:
        if self.live.exists():
            archive = self._new_archive()
            self.live.rename(archive)
            if look_between:
                self.world.pass_time()
            self._finish(archive)

    def _compress(self, number: int, suffix: str, look_between: bool) -> None:
        plain = [path for path in self._archives() if path.suffix not in COMPRESSIONS]
        if number < len(plain):
            path = plain[number]
            path.with_name(path.name + suffix).write_bytes(COMPRESSIONS[suffix](path.read_bytes()))
            if look_between:
                self.world.pass_time()
            path.unlink()

    def _copy_and_truncate(self, look_between: bool) -> None:
        if self.live.exists():
            self._finish(self.live)
            shutil.copyfile(self.live, self._new_archive())
            if look_between:
                self.world.pass_time()
            os.truncate(self.live, 0)

    def _rename_an_archive(self, number: int) -> None:
        archives = self._archives()
        if number < len(archives):
            path = archives[number]
            path.rename(self._new_archive(path.suffix if path.suffix in COMPRESSIONS else ""))

    def _delete(self) -> None:
        # What was never seen can't be kept: a file must be open, and may then have more than was read of it.
        if self.live.exists():
            self._finish(self.live)
            self.world.pass_time()
            if self.world.holds(self.live_source()):
                self._append(2)
            self.live.unlink()
            self.world.come_to_rest()

    def _pause(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    def _die(self, records: int, kept: int) -> None:
        self.world.die(records=records, kept=kept)

    def _restart(self) -> None:
        self.world.follower.stop()
        self.world.start()

    def _archives(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path != self.live)

    def _new_archive(self, suffix: str = "") -> Path:
        return self.live.with_name(f"{self.live.name}.{next(self._names)}{suffix}")

    def live_source(self) -> str | None:
        """Return the id of the source that is being written, where there is one."""
        content = self.live.read_bytes() if self.live.exists() else b""
        first, found, _ = content.partition(b"\n")
        return log_source_id(first) if found else None


@settings(max_examples=150, deadline=None)
@given(
    actions=st.lists(ACTIONS, max_size=25),
    idle_seconds=st.sampled_from([0.01, 1e9]),
    asked_for=st.sampled_from(["cowrie.json", "", "cowrie*"]),
    window_bytes=st.sampled_from([100, 8192]),
)
def test_each_finished_line_arrives_once_and_nothing_else_does(
    actions: list[tuple[Any, ...]], idle_seconds: float, asked_for: str, window_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / asked_for) if asked_for else folder
        world = FollowingWorld(path, idle_seconds=idle_seconds, window_bytes=window_bytes)
        writer = Writer(Path(folder), world)
        for action in actions:
            writer.act(*action)
            live = writer.live_source()
            assert live not in {claim.source for claim in world.claims()}, "nothing is claimed while it is live"
            assert world.letters() == []
        writer.end()
        world.close()
        expected = [line.removesuffix(b"\n") for line in writer.finished]
        assert {*world.lines()} == {*expected}
        if not any(action == "die" for action, *_ in actions):
            assert sorted(world.lines()) == sorted(expected)
        assert world.letters() == []
        check_claims(world, len(expected))


def check_claims(world: FollowingWorld, lines: int) -> None:
    claims = {claim.source: claim for claim in world.claims()}
    assert sum(claim.counts["events"] for claim in claims.values()) == lines
    for claim in claims.values():
        assert world.observed(claim.source) == (claim.counts["events"], 0)
        assert world.ends_hold(claim)
