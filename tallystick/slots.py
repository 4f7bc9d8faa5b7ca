"""Names for the members of a group on one host that stay the same over restarts: node and slot number.

A static member that is killed and started again under its name gets its partitions back at once; the group would
otherwise wait for its session to time out.
"""

import fcntl
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tallystick.errors import ServiceError

SLOTS = 256


@contextmanager
def member_name(folder: Path, group: str) -> Iterator[str]:
    """Hold the first free slot of `group` on this host, and give the member's name in it.

    The lock is the kernel's: it is gone with the process, however that ends.
    Raises ServiceError where `folder` can't be written or every slot is taken.
    """
    slot, lock = _take(folder, group)
    with lock:
        yield f"{platform.node()}-{slot}"


def _take(folder: Path, group: str) -> tuple[int, IO[str]]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for slot in range(SLOTS):
            file = (folder / f"{group}-{slot}.lock").open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            return slot, file
    except OSError as error:
        raise ServiceError(f"no slot can be taken in {folder}: {error}; set TALLY_HOME to a folder of yours") from error
    raise ServiceError(f"{SLOTS} members of {group} run on this host already; stop some of them")
