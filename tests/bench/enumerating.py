"""Enumeration of a folder and of an image, against what `find` needs for the same listing of the same tree."""

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from producers.media.damage import DamageMap
from producers.media.enumeration import Walk, enumerate_medium
from producers.media.image_walk import ImageWalk
from producers.media.rules import Rules
from producers.media.tree_walk import TreeWalk
from tallystick.contracts import listings
from tallystick.contracts.media import Form, Found, Medium

FOLDER_FILES = 100
_FIND = r"%y\034%D\034%i\034%n\034%s\034%Ts\034%p\0"


class Enumerated(msgspec.Struct):
    """One way to enumerate: how long it took at best, to a listing on disk unless it says otherwise."""

    method: str
    entries: int
    cpu_seconds: float
    wall_seconds: float

    @property
    def rate(self) -> float:
        """Entries per CPU second."""
        return self.entries / self.cpu_seconds


def measure(folder: Path, *, files: int, runs: int) -> list[Enumerated]:
    """Measure each way `runs` times, one after the other in turn, on a tree of `files` files made in `folder`."""
    tree, image = folder / "tree", folder / "tree.img"
    _make_tree(tree, files)
    out = folder / "listing.raw"
    ways: dict[str, Callable[[], int]] = {
        "find -xdev -fprintf": lambda: _find(tree, out),
        "tree_walk": lambda: _write(TreeWalk(bytes(tree)), out),
        "enumerate_medium of the tree: with counts, digest and inodes, no listing": lambda: _enumerate(Form.TREE, tree),
    }
    if _make_image(tree, image, files):
        ways["image_walk, ext4, with the search for unreachable inodes"] = lambda: _write(
            ImageWalk(bytes(image), damage=DamageMap(), beat=_nothing), out
        )
        ways["enumerate_medium of the image"] = lambda: _enumerate(Form.IMAGE, image)
    best: dict[str, Enumerated] = {}
    for _ in range(runs):
        for method, way in ways.items():
            found = _timed(method, way)
            if method not in best or found.cpu_seconds < best[method].cpu_seconds:
                best[method] = found
    if best["find -xdev -fprintf"].entries != best["tree_walk"].entries:
        sys.exit("bench: find and tree_walk differ in what they found")
    return list(best.values())


def _make_tree(tree: Path, files: int) -> None:
    for number in range(files):
        if number % FOLDER_FILES == 0:
            folder = tree / f"{number // FOLDER_FILES % 20}" / f"{number // FOLDER_FILES}"
            folder.mkdir(parents=True)
        (folder / f"file {number:08}.txt").write_bytes(b"x" * (number % 7))


def _make_image(tree: Path, image: Path, files: int) -> bool:
    """Make an image of the tree, where there is what makes one."""
    tool = shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if tool is None:
        print("mkfs.ext4 is not installed: images are left out")
        return False
    with image.open("wb") as file:
        file.truncate((64 << 20) + files * 5000)
    command: list[str | Path] = [tool, "-q", "-F", "-N", str(files + files // 50 + 1000), "-d", tree, image]
    subprocess.run(command, check=True)
    return True


def _timed(method: str, way: Callable[[], int]) -> Enumerated:
    started, cpu = time.monotonic(), _cpu_seconds()
    entries = way()
    return Enumerated(method, entries, _cpu_seconds() - cpu, time.monotonic() - started)


def _cpu_seconds() -> float:
    """Return the seconds of this process and of those that it has waited for."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def _find(tree: Path, out: Path) -> int:
    subprocess.run(["find", tree, "-xdev", "-fprintf", out, _FIND], check=True)
    return out.read_bytes().count(b"\0")


def _write(walk: Walk, out: Path) -> int:
    count = 0
    with out.open("wb") as file:
        for entry in walk:
            if isinstance(entry, Found):
                file.write(listings.encode(entry, mount=walk.mount(entry.part)))
                count += 1
    walk.close()
    return count


def _enumerate(form: Form, root: Path) -> int:
    medium = Medium(medium="0" * 32, form=form, attempt=1, name="bench", root=bytes(root), at="")
    with enumerate_medium(medium, Rules()) as enumeration:
        for _ in enumeration:
            pass
    return enumeration.counts["records"]


def _nothing() -> None:
    pass
