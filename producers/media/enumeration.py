"""One enumeration of one medium: its records and problems in order, and then the counts that are claimed.

1. every path becomes a record; where rules exclude it, the record says so
2. all records of an inode agree: of a file with several names, the attributes that were seen first hold
3. at the end it is known how many inodes there were, and whether any of them changed meanwhile
"""

import importlib.metadata
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec
import pytsk3

from producers.media.damage import DamageMap, parse_map
from producers.media.errors import PreconditionError
from producers.media.image_walk import ImageWalk
from producers.media.listing_walk import ListingWalk
from producers.media.rules import Rules
from producers.media.tree_walk import TreeWalk
from tallystick.contracts.listings import SIDECAR_PROBLEMS, FileSystem
from tallystick.contracts.media import RECORD_COUNTS, Entry, Form, Found, Medium, Problem, record_digest
from tallystick.contracts.text import printable
from tallystick.storage.sorting import SortedKeys

_INODE: Final = struct.Struct(">Qqq")
"""Part, inode, hash of the attributes."""
_COUNT_OF_TYPE: Final = {"f": "files", "d": "folders", "l": "links"}
_PER_BEAT: Final = 1024
_MODULUS: Final = 1 << 256


class Walk(Protocol):
    """What goes through a medium, once: an image, a folder or a listing."""

    def __iter__(self) -> Iterator[Entry]:
        """Yield records, parents before what is in them, and problems."""

    def mount(self, part: int) -> bytes:
        """Return where listings say that a part is mounted."""

    def close(self) -> None:
        """Close the medium."""

    @property
    def file_systems(self) -> tuple[FileSystem, ...]:
        """The file systems, in order of their part."""


class Enumeration:
    """What is on a medium: iterate once, to the end, then ask for the rest. A context, or to be closed.

    `counts` are the RECORD_COUNTS, `digest` is the `set_digest` of the records, `problem_kinds` how many problems there
    were of each kind, `problems` the first of them.
    """

    def __init__(self, walk: Walk, rules: Rules, beat: Callable[[], None]) -> None:
        self.counts = dict.fromkeys(RECORD_COUNTS, 0)
        self.digest = f"{0:064x}"
        self.problem_kinds: dict[str, int] = {}
        self.problems: list[Problem] = []
        self.rules = rules
        self._walk, self._beat = walk, beat
        self._sum = 0
        self._shared: dict[tuple[int, int], Found] = {}

    def __enter__(self) -> "Enumeration":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the medium."""
        self._walk.close()

    @property
    def file_systems(self) -> tuple[FileSystem, ...]:
        """The file systems of the medium, in order of their part; of a folder, those that were met so far."""
        return self._walk.file_systems

    def mount(self, part: int) -> bytes:
        """Return the mount point that listings are to name for a part (`listings.encode`)."""
        return self._walk.mount(part)

    def __iter__(self) -> Iterator[Entry]:
        """Yield records and problems.

        Raises PreconditionError where the medium changed meanwhile, MalformedError, and OSError for temporary files.
        """
        with SortedKeys(_INODE.size) as inodes:
            for number, entry in enumerate(self._walk):
                if number % _PER_BEAT == 0:
                    self._beat()
                if isinstance(entry, Problem):
                    self._count_problem(entry)
                    yield entry
                    continue
                found = self._agreed(entry)
                if found.type == "f" and (rule := self.rules.match(found.path)):
                    found = msgspec.structs.replace(found, excluded=f"pattern:{rule}")
                self._count(found)
                inodes.add(_INODE.pack(found.part, found.ino, hash(_attributes(found))))
                yield found
            self.counts["inodes"] = self._distinct(inodes)
        self.digest = f"{self._sum % _MODULUS:064x}"

    def _agreed(self, found: Found) -> Found:
        """Return the record with the attributes that its inode had when it was first seen."""
        if found.nlink < 2 or found.type == "d":
            return found
        first = self._shared.setdefault((found.part, found.ino), found)
        return found if first is found else msgspec.structs.replace(first, path=found.path)

    def _count(self, found: Found) -> None:
        counts = self.counts
        counts["records"] += 1
        counts[_COUNT_OF_TYPE.get(found.type, "others")] += 1
        counts["excluded"] += bool(found.excluded)
        self._sum += record_digest(found)

    def _count_problem(self, problem: Problem) -> None:
        self.counts["problems"] += 1
        self.problem_kinds[problem.kind] = self.problem_kinds.get(problem.kind, 0) + 1
        if len(self.problems) < SIDECAR_PROBLEMS:
            self.problems.append(problem)

    def _distinct(self, inodes: SortedKeys) -> int:
        """Return how many inodes there are. Raises PreconditionError where one was seen with two sets of attributes."""
        count, before = 0, (-1, -1, 0)
        for number, key in enumerate(inodes):
            if number % _PER_BEAT == 0:
                self._beat()
            inode = _INODE.unpack(key)
            if inode[:2] != before[:2]:
                count += 1
            elif inode != before:
                raise PreconditionError(
                    "changed_while_enumerated",
                    f"inode {inode[1]} of part {inode[0]} changed while the medium was enumerated: "
                    "wait until nobody writes there",
                )
            before = inode
        return count


def enumerate_medium(medium: Medium, rules: Rules, *, beat: Callable[[], None] = lambda: None) -> Enumeration:
    """Open a medium and return its enumeration.

    `beat` is called often, so that who waits knows that it goes on. Raises PreconditionError where the medium isn't
    there or isn't what was identified, NoFileSystemError, UnsupportedError, MalformedError.
    """
    return Enumeration(_walk(medium, beat), rules, beat)


def _attributes(found: Found) -> tuple[str, int, int, int, int]:
    """Return what the records of one inode must agree in."""
    return found.type, found.nlink, found.size, found.mtime, found.mtime_ns


def _walk(medium: Medium, beat: Callable[[], None]) -> Walk:
    match medium.form:
        case Form.TREE:
            return TreeWalk(medium.root)
        case Form.LISTING:
            _same_size(medium, medium.root)
            return ListingWalk(medium.root, beat=beat)
    path = medium.image or medium.root
    _same_size(medium, path)
    return ImageWalk(path, damage=_damage(medium), beat=beat)


def _same_size(medium: Medium, path: bytes) -> None:
    """Raise PreconditionError where a file has another size than the medium had when it was identified."""
    try:
        size = Path(os.fsdecode(path)).stat().st_size
    except OSError:
        # Whoever opens it says so.
        return
    if medium.size and size and size != medium.size:
        raise PreconditionError(
            "image_changed",
            f"{printable(os.fsdecode(path))} has {size} bytes, but {medium.size} when it was identified: "
            "put the file back, or ingest it anew",
        )


def _damage(medium: Medium) -> DamageMap:
    if not medium.map:
        return DamageMap()
    try:
        return parse_map(Path(os.fsdecode(medium.map)).read_bytes())
    except OSError as error:
        raise PreconditionError(
            "no_map",
            f"the map {printable(os.fsdecode(medium.map))} can't be read ({error.strerror}): put it where it was",
        ) from error


def tools() -> dict[str, str]:
    """Return the versions of what an enumeration depends on."""
    return {
        "tallystick": importlib.metadata.version("tallystick"),
        "libtsk": str(pytsk3.get_version()),
        "pytsk3": importlib.metadata.version("pytsk3"),
    }
