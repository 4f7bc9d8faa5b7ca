"""All sources that are followed: looks at the file system, reads what is new, and claims what is complete.

A turn does, in this order:

1. where it is time, or a change was told of: look at the files; nothing of their content is read
2. each file that has changed is read on, also where it was renamed, and where it is gone but still open
3. files that are new are opened, a live one once its predecessor is read to its end, archives one after the other
4. checkpoints follow what Kafka has acknowledged, heartbeats are sent, and what is complete is claimed

So the cost of a turn depends on the number of files and on what is new in them, never on their size.
"""

import os
import time
from collections.abc import Callable, Collection, Sequence

import msgspec

from producers.cowrie.decompression import DamagedStream
from producers.cowrie.discovery import as_text, why_unreadable
from producers.cowrie.following.complaints import Complaints
from producers.cowrie.following.eras import eras, family
from producers.cowrie.following.names import is_archive
from producers.cowrie.following.recognition import enrol, open_new
from producers.cowrie.following.steps import FileId, Stamp, Standing, Step, in_order, next_step, whereabouts
from producers.cowrie.following.tail import Tail
from producers.cowrie.following.views import View, look, stamp
from producers.cowrie.limits import TooManyDeadLetters
from producers.cowrie.reading import Tools
from producers.progress import FileOutcome
from tallystick.contracts import timestamps
from tallystick.logs import get_logger

log = get_logger(__name__)

MAX_OPEN = 128
"""How many followed files are held open at once; the others are opened when they change."""
_LOOK_GAP_SECONDS = 0.2
_BUSY_SECONDS = 0.02
_IDLE_SECONDS = 0.25
_OPEN_SECONDS = 0.1
"""How long files are opened and recognised before those that are open are read on."""
_CLOCK_SECONDS = 1.0
"""By how much the clock of a file system may be behind."""
_FORGOTTEN = 1_000
"""How many files that are gone are remembered; a mount that vanishes takes them all away for a time."""


class _Waiting(msgspec.Struct, frozen=True):
    """A file that is to be opened: how it was seen last, since when it has been so (the follower's clock).

    It is going to be read with `tools`.
    """

    stamp: Stamp
    since: float
    tools: Tools


class Group(msgspec.Struct, frozen=True):
    """Files that are followed with the same tools: `paths` (see `discover`), which are absolute."""

    paths: tuple[str, ...]
    tools: Tools


class Follower:
    """Follows the files of `groups`, at least one; their tools differ only in sensor and zone. Not thread-safe.

    A file of several groups is the first one's; what a file is rotated to is that one's as well.
    `on_outcome` is told what came of a file that is claimed or left, `clock` gives seconds that only grow.
    Methods raise ServiceError for what Kafka refuses.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        on_outcome: Callable[[FileOutcome], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._groups, self._on_outcome, self._clock = groups, on_outcome, clock
        self._tools = tools = groups[0].tools
        self._bounds = tools.settings.follow
        self._view = View()
        self._tails: dict[str, Tail] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._queue: list[str] | None = None  # the order of what waits, until something is added
        self._settled: dict[FileId, tuple[Stamp, bool]] = {}
        self._copies: dict[str, set[str]] = {}
        self._refused: dict[FileId, int] = {}
        self._claimed: set[FileId] = set()
        self._complaints = Complaints()
        self._eras = eras(tools.checkpoints.known.values())
        self._began_at = timestamps.canonical(time.time() - _CLOCK_SECONDS)
        self._looked_at = float("-inf")
        self._must_look = True

    @property
    def patience(self) -> float:
        """How many seconds may pass until the next turn, where no change is told of."""
        busy = any(tail.dirty or not tail.is_acknowledged for tail in self._tails.values())
        return _BUSY_SECONDS if busy or self._must_look else _IDLE_SECONDS

    def turn(self, changed: Collection[str], *, look_every: float) -> bool:
        """Do what is to be done now; True where there is more to do at once.

        `changed` are paths of which a change was told; all files are looked at every `look_every` seconds.
        """
        if changed:
            self._glance(changed)
        passed = self._clock() - self._looked_at
        if looked := passed >= look_every or (self._must_look and passed >= _LOOK_GAP_SECONDS):
            self._look()
        more = self._read()
        more |= self._open()
        self._tools.publisher.poll()
        for tail in list(self._tails.values()):
            tail.keep_up()
            more |= self._end(tail)
        if looked:
            self._close_idle()
        return more

    def stop(self) -> None:
        """End without claims; what was sent is acknowledged, if Kafka is there."""
        for tail in self._tails.values():
            if not tail.settle():
                break  # the others would have to give up as well
        for tail in self._tails.values():
            self._on_outcome(tail.leave())
        self._tails.clear()

    def _glance(self, changed: Collection[str]) -> None:
        """Look at single files; where more than their content has changed, all of them have to be looked at."""
        holders = {tail.file: tail for tail in self._tails.values() if tail.file is not None}
        for path in changed:
            known = self._view.files.get(path)
            try:
                now = stamp(path)
            except OSError:
                self._must_look = True  # which tells why
                continue
            if known is None or known.file != now.file:
                self._must_look = True
                continue
            self._view.files[path] = now
            holder = holders.get(now.file)
            if holder is not None:
                holder.see(holder.path, now)
            if holder is None or holder.lost:
                self._note_new(path, now, self._tools_for(path))

    def _tools_for(self, path: str) -> Tools:
        """Return what a file that was seen in the last look is read with."""
        return self._groups[self._view.groups[path]].tools

    def _look(self) -> None:
        self._looked_at, self._must_look = self._clock(), False
        self._view = look([group.paths for group in self._groups], self._view)
        self._complaints.of_looking(self._view.problems)
        everything = self._view.all
        for tail in self._tails.values():
            if (file := tail.file) is None:
                tail.dirty |= tail.holds_a_file
            elif (here := whereabouts(file, tail.path, everything)) is not None:
                tail.see(*here)
                tail.dirty |= self._complaints.is_unreadable(tail.began_at)
            elif tail.is_gone:
                tail.lose()
        held = {tail.file for tail in self._tails.values()}
        self._waiting = {path: waiting for path, waiting in self._waiting.items() if path in everything}
        self._enrol_kin()
        for path, now in everything.items():
            if now.file in held:
                self._waiting.pop(path, None)
            else:
                self._note_new(path, now, self._tools_for(path))
        if len(self._settled) > 2 * len(everything) + _FORGOTTEN:
            present = {now.file for now in everything.values()}
            self._settled = {file: known for file, known in self._settled.items() if file in present}
            self._claimed &= present

    def _enrol_kin(self) -> None:
        """Note down what was rotated while nobody followed, before anything that is newer is begun."""
        for path, now in self._view.kin.items():
            if not (path in self._waiting or self._is_settled(path, now) or self._is_older(path, now)):
                try:
                    enrol(path, now, self._tools.checkpoints)
                except OSError as error:
                    self._complaints.of_reading(path, why_unreadable(error))

    def _note_new(self, path: str, now: Stamp, tools: Tools) -> None:
        """Take note of a file that nobody follows, unless it is known that there is nothing to be read of it."""
        if self._is_settled(path, now):
            self._waiting.pop(path, None)
        elif (known := self._waiting.get(path)) is None or known.stamp != now:
            self._waiting[path] = _Waiting(now, self._clock(), tools)
            self._queue = None

    def _is_settled(self, path: str, now: Stamp) -> bool:
        """Whether it is known that there is nothing to be read of a file, as long as it stays as it is."""
        if self._refused.get(now.file, now.size + 1) <= now.size:
            return True
        return self._settled.get(now.file) == (now, is_archive(path))

    def _read(self) -> bool:
        more = False
        for tail in list(self._tails.values()):
            if not tail.dirty:
                continue
            was_lost = tail.lost
            try:
                more |= tail.read_on()
                self._complaints.end(tail.began_at)
            except OSError as error:
                self._complaints.of_reading(tail.began_at, why_unreadable(error))
                self._put_off(tail)
            except TooManyDeadLetters as error:
                self._refuse(tail, error)
                continue
            if tail.lost and not was_lost:  # something else was found in its file
                self._note_new(tail.path, tail.stamp, tail.tools)
        return more

    def _refuse(self, tail: Tail, error: TooManyDeadLetters) -> None:
        """Let a file be that is no log, unless it is written anew."""
        del self._tails[tail.source]
        if (file := tail.file) is not None:
            self._refused[file] = tail.stamp.size
        self._on_outcome(tail.refuse(error))

    def _put_off(self, tail: Tail) -> None:
        """Wait with a file that can't be read: a live one until it can be read on, an archive is begun anew."""
        tail.dirty = False
        if tail.is_archive:
            del self._tails[tail.source]
            tail.settle()
            self._on_outcome(tail.leave())
        else:
            tail.let_go()

    def _open(self) -> bool:
        """Open what is due; True where something was opened, or is left."""
        if not self._waiting:
            return False
        deadline = self._clock() + _OPEN_SECONDS
        archive_is_read = any(tail.is_archive and tail.dirty for tail in self._tails.values())
        unfinished = {tail.began_at for tail in self._tails.values() if tail.dirty}
        opened = False
        if self._queue is None:
            self._queue = in_order(self._waiting)
        for path in self._queue:
            archive = is_archive(path)
            if archive and archive_is_read:
                break  # only archives follow
            if self._tools.stop() or self._clock() > deadline:
                return True
            waiting = self._waiting.get(path)
            if waiting is None or path in unfinished or (archive and not self._is_quiet(waiting)):
                continue
            tail = self._open_one(path, waiting)
            opened |= tail is not None
            archive_is_read |= tail is not None and tail.is_archive
        return opened

    def _open_one(self, path: str, waiting: _Waiting) -> Tail | None:
        del self._waiting[path]
        now = waiting.stamp
        only_begun = path not in self._view.files and now.file not in self._claimed and self._is_older(path, now)
        try:
            opened = open_new(path, now, self._tools.checkpoints, only_begun=only_begun)
        except (OSError, DamagedStream) as error:  # the next look has it wait again
            self._complaints.of_reading(path, why_unreadable(error) if isinstance(error, OSError) else str(error))
            return None
        self._complaints.end(path)
        if opened is not None and opened.found.source in self._tails:
            opened.file.close()
            self._copies.setdefault(opened.found.source, set()).add(path)
            opened = None
        if opened is None:
            self._settled[now.file] = now, is_archive(path)
            return None
        tail = Tail(waiting.tools, path=path, stamp=now, opened=opened, clock=self._clock)
        self._tails[tail.source] = tail
        self._refused.pop(now.file, None)
        log.info("following", path=as_text(path), source=tail.source, position=opened.found.position)
        tail.begin()
        return tail

    def _end(self, tail: Tail) -> bool:
        """Do what follows for a source that has been read to its present end; True where something did."""
        if tail.dirty or not (tail.lost or tail.is_archive) or not tail.is_quiet(self._bounds.quiet_seconds):
            return False
        standing = self._standing(tail)
        if standing is None:
            return True
        match next_step(standing):
            case Step.WAIT:
                return False
            case Step.CONCLUDE:
                try:
                    outcome = tail.conclude()
                except TooManyDeadLetters as error:
                    self._refuse(tail, error)
                    return True
                del self._tails[tail.source]
                self._on_outcome(outcome)
                if (file := tail.file) is not None:
                    self._claimed.add(file)
                    self._settled[file] = tail.stamp, is_archive(tail.path)
            case Step.HAND_OVER:
                del self._tails[tail.source]
                tail.settle()
                self._on_outcome(tail.leave())
        for path in self._copies.pop(tail.source, ()):
            if (now := self._view.all.get(path)) is not None:
                self._settled.pop(now.file, None)
                self._note_new(path, now, self._tools_for(path))
        return True

    def _standing(self, tail: Tail) -> Standing | None:
        """Return how a source stands; none where its file has changed since it was looked at, and is to be read on."""
        away = False
        if not tail.lost:
            try:
                now = stamp(tail.path)
            except OSError:
                away = self._must_look = True
            else:
                if now != tail.stamp:
                    self._must_look = True
                    return None
        everything = self._view.all
        folder = os.path.dirname(tail.path)  # noqa: PTH120 - cheap, for many paths
        return Standing(
            archive=tail.is_archive,
            lost=tail.lost,
            away=away,
            quiet=True,
            copies=any(path in everything for path in self._copies.get(tail.source, ())),
            unrecognised=tail.lost
            and any(is_archive(path) and os.path.dirname(path) == folder for path in self._waiting),  # noqa: PTH120
        )

    def _is_older(self, path: str, now: Stamp) -> bool:
        """Whether a rotated file is from before its log was followed."""
        return timestamps.canonical(now.modified / 1e9) < self._eras.get(family(path), self._began_at)

    def _is_quiet(self, waiting: _Waiting) -> bool:
        age = time.time() - waiting.stamp.modified / 1e9
        return max(age, self._clock() - waiting.since) >= self._bounds.quiet_seconds

    def _close_idle(self) -> None:
        """Let go of files in which nothing happens, and of the longest idle ones where too many are open."""
        held = sorted((tail for tail in self._tails.values() if tail.holds_a_file), key=lambda tail: tail.read_at)
        for number, tail in enumerate(held):
            if not tail.dirty and (len(held) - number > MAX_OPEN or tail.is_idle(self._bounds.idle_seconds)):
                tail.let_go()
