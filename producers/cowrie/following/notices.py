"""The operating system's word that something has changed: a reason to look at once, never the only one.

Where it can't be had (a folder that isn't there, too many folders, another file system), files are looked at regularly.
"""

import glob
import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import watchfiles

from tallystick.logs import get_logger

log = get_logger(__name__)

_STEP_MS = 20
_DEBOUNCE_MS = 60
_END_SECONDS = 2.0


class Watch:
    """Watches folders in a thread of its own, until it is ended or can't go on; `error` then says why."""

    def __init__(self, folders: Sequence[str], *, deep: bool, tell: Callable[[set[str]], None]) -> None:
        self._folders, self._deep, self._tell = folders, deep, tell
        self.error = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether changes are still told."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Stop watching."""
        self._end.set()
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        try:
            for changes in watchfiles.watch(
                *self._folders,
                watch_filter=None,
                step=_STEP_MS,
                debounce=_DEBOUNCE_MS,
                stop_event=self._end,
                recursive=self._deep,
                ignore_permission_denied=True,
            ):
                self._tell({path for _, path in changes})
        except (OSError, RuntimeError) as error:
            self.error = str(error)


class Notices:
    """What is told of changes in and below the folders of `paths`. Without `watching`, nothing ever is."""

    def __init__(self, paths: Sequence[str], *, watching: bool) -> None:
        self._told: queue.SimpleQueue[set[str]] = queue.SimpleQueue()
        self._paths = paths if watching else ()
        self._watches: list[Watch] = []
        self._seen: dict[str, tuple[bool, int, int] | None] = {}
        self._complaint = ""
        self.renew()

    @property
    def complete(self) -> bool:
        """Whether every change is told of."""
        return bool(self._seen) and None not in self._seen.values() and all(watch.is_alive for watch in self._watches)

    def wait(self, seconds: float) -> set[str]:
        """Return the paths that have changed, as soon as there is one; none after `seconds`."""
        changed: set[str] = set()
        try:
            changed |= self._told.get(timeout=max(seconds, 0.0))
            while True:
                changed |= self._told.get_nowait()
        except queue.Empty:
            return changed

    def renew(self) -> None:
        """Watch anew where folders have come, gone or changed places."""
        deep = roots(self._paths)
        seen = {root: _place(root, below) for root, below in deep.items()}
        if seen == self._seen and all(watch.is_alive for watch in self._watches):
            return
        self._complain("; ".join(watch.error for watch in self._watches if watch.error))
        self.end()
        self._seen = seen
        for below in (False, True):
            if folders := [root for root, place in seen.items() if place is not None and place[0] is below]:
                self._watches.append(Watch(folders, deep=below, tell=self._told.put))

    def end(self) -> None:
        """Stop watching."""
        for watch in self._watches:
            watch.end()
        self._watches = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _complain(self, error: str) -> None:
        if error and error != self._complaint:
            self._complaint = error
            log.warning("changes are not told of; files are looked at regularly", error=error)


def roots(paths: Sequence[str]) -> dict[str, bool]:
    """Return the folders to be watched for `paths`, and whether with all folders below them."""
    found: dict[str, bool] = {}
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112 - takes a name that can't be one
            root, deep = path, True
        elif glob.has_magic(path) and not os.path.lexists(path):
            fixed = path
            while glob.has_magic(fixed):
                fixed = os.path.dirname(fixed)  # noqa: PTH120 - keeps "./" as it was given
            root, deep = fixed or ".", os.path.dirname(path) != fixed  # noqa: PTH120
        else:
            root, deep = os.path.dirname(path) or ".", False  # noqa: PTH120
        found[root] = found.get(root, False) or deep
    return found


def _place(root: str, below: bool) -> tuple[bool, int, int] | None:
    try:
        found = Path(root).stat()
    except OSError:
        return None  # it is watched once it is there
    return below, found.st_dev, found.st_ino
