"""How the file system looks: which files there are, and whether they have changed. Reads no content."""

import glob
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from producers.cowrie.discovery import Problem, discover, why_unreadable
from producers.cowrie.following.names import is_archive, stem
from producers.cowrie.following.steps import FileId, Stamp


class View(msgspec.Struct):
    """All files at one time, by path: `files` are those that were asked for, `kin` rotated ones beside live ones."""

    files: dict[str, Stamp] = {}
    kin: dict[str, Stamp] = {}
    problems: dict[str, str] = {}

    @property
    def all(self) -> dict[str, Stamp]:
        """Both kinds of files."""
        return self.kin | self.files


def look(paths: Sequence[str], followed: Collection[str]) -> View:
    """Return how the file system looks. What can't be looked at is a problem and ends nothing.

    `paths` are what was asked for, `followed` are live files that were found before. Beside those, and beside what was
    asked for by its own name, is searched for what they may have been rotated to.
    """
    view = View({}, {}, {})
    for found in discover(paths):
        if isinstance(found, Problem):
            view.problems[found.path] = found.reason
        else:
            _add(view, view.files, found.path)
    named = [path for path in paths if path in view.files or not (glob.has_magic(path) or os.path.isdir(path))]  # noqa: PTH112 - tells of no error
    for path in _kin({*named, *followed}):
        if path not in view.files:
            _add(view, view.kin, path)
    return view


def stamp(path: str) -> Stamp:
    """Return the stamp of the file at `path`. Raises OSError."""
    found = os.stat(path)  # noqa: PTH116 - some thousand times in a row
    return Stamp((found.st_dev, found.st_ino), found.st_size, found.st_mtime_ns)


def is_gone(path: str, file: FileId, device: int | None) -> bool:
    """Return whether `file`, whose folder was on `device`, is no longer at `path`: True only where that is sure.

    It isn't sure where the file system gives errors, or isn't mounted: then the nearest folder is on another device, or
    it is the empty place of the mount.
    """
    try:
        return stamp(path).file != file
    except (FileNotFoundError, NotADirectoryError):
        return device is not None and (folder_device(path) == device or _has_entries(Path(path).parent))
    except OSError:
        return False


def folder_device(path: str) -> int | None:
    """Return the device of the nearest folder above `path` that is there; None where the file system doesn't tell."""
    for folder in Path(path).parents:
        try:
            return folder.stat().st_dev
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return None
    return None


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def _add(view: View, stamps: dict[str, Stamp], path: str) -> None:
    try:
        stamps[path] = stamp(path)
    except OSError as error:
        view.problems[path] = why_unreadable(error)


def _kin(live: Collection[str]) -> Iterator[str]:
    """Yield the archives beside `live` files that bear the name of one of them; content decides whether they are."""
    stems: defaultdict[str, set[str]] = defaultdict(set)
    for path in live:
        folder, name = os.path.split(path)
        stems[folder].add(stem(name))
    for folder, wanted in stems.items():
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError:
            continue  # told as a problem of the path that was asked for
        yield from (f"{folder}/{name}" for name in names if is_archive(name) and stem(name) in wanted)
