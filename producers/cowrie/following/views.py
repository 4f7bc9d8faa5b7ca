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
    """All files at one time, by path: `files` are those that were asked for, `kin` rotated ones beside live ones.

    `groups` tells as part of which group of paths each of them was asked for: of several, the first.
    """

    files: dict[str, Stamp] = {}
    kin: dict[str, Stamp] = {}
    problems: dict[str, str] = {}
    groups: dict[str, int] = {}

    @property
    def all(self) -> dict[str, Stamp]:
        """Both kinds of files."""
        return self.kin | self.files


def look(groups: Sequence[Sequence[str]], before: View) -> View:
    """Return how the file system looks. What can't be looked at is a problem and ends nothing.

    `groups` are the paths that were asked for. Beside what was asked for by its own name, and the live files that were
    there `before`, is searched for what they may have been rotated to.
    """
    view = View({}, {}, {}, {})
    for number, paths in enumerate(groups):
        for found in discover(paths):
            if isinstance(found, Problem):
                view.problems[found.path] = found.reason
            else:
                _add(view, view.files, found.path, number)
    live = [path for path in before.files if not is_archive(path)]
    for number, paths in enumerate(groups):
        named = [path for path in paths if path in view.files or not (glob.has_magic(path) or os.path.isdir(path))]  # noqa: PTH112 - tells of no error
        followed = [path for path in live if before.groups[path] == number]
        for path in _kin({*named, *followed}):
            _add(view, view.kin, path, number)
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


def _add(view: View, stamps: dict[str, Stamp], path: str, group: int) -> None:
    if path in view.groups:
        return
    try:
        stamps[path] = stamp(path)
    except OSError as error:
        view.problems[path] = why_unreadable(error)
    else:
        view.groups[path] = group


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
