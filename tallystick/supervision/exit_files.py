"""Files that say how tasks stand: one a task, in `exits` below `TALLY_HOME`; they outlive whoever wrote them.

None is synchronised to the disk: after a crash of the machine one may be missing, and then nothing is known of its
task until it starts or ends again. The log and `task.exits` have its exits all the same.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec

from tallystick.contracts.tasks import TaskExit
from tallystick.logs import get_logger
from tallystick.settings import Settings
from tallystick.supervision.standing import TaskStanding

MAX_NAME_CHARS = 90
_DIGEST_CHARS = 8
_OTHER = re.compile(r"[^a-zA-Z0-9.-]")
_DECODER = msgspec.json.Decoder(TaskStanding)
_UNSENT = msgspec.json.Decoder(list[TaskExit])

log = get_logger(__name__)


def file_name(task: str) -> str:
    """Return the name that a task has in files, without its ending: another one for every task.

    It is readable where it can be: `atproto--firehose--localhost_2583` for `atproto/firehose/localhost:2583`.
    """
    name = _OTHER.sub("_", task.replace("/", "--")).lstrip(".-_") or "_"
    back = name.replace("--", "/").replace("_", ":")
    if back == task and len(name) <= MAX_NAME_CHARS:
        return name
    digest = sha256(task.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
    return f"{name[: MAX_NAME_CHARS - _DIGEST_CHARS - 1].lstrip('_') or 'task'}-{digest}"


class ExitFiles:
    """The files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, settings: Settings) -> "ExitFiles":
        """Return those of this deployment."""
        return cls(settings.home / "exits")

    def read(self) -> list[TaskStanding]:
        """Return how every task stands that is known here, by name; files that can't be read are left out, and told."""
        found = [standing for path in self.folder.glob("*.json") if (standing := self._read(path))]
        return sorted(found, key=lambda standing: standing.task)

    def find(self, task: str) -> TaskStanding | None:
        """Return how a task stands, where that is known."""
        return self._read(self._path(task))

    def write(self, standing: TaskStanding) -> None:
        """Replace what is known of a task. Raises OSError."""
        self._replace(self._path(standing.task), msgspec.json.encode(standing))

    def keep_unsent(self, exits: list[TaskExit]) -> None:
        """Keep what Kafka has not acknowledged, in the place of what this process kept before. Raises OSError."""
        path = self.folder / f"unsent-{os.getpid()}.list"
        if exits:
            self._replace(path, msgspec.json.encode(exits))
        else:
            path.unlink(missing_ok=True)

    def take_over_unsent(self) -> list[TaskExit]:
        """Return what processes that are gone have kept, and keep it as this one's. Only while `held`."""
        found = []
        taken = [path for path in sorted(self.folder.glob("unsent-*.list")) if not _lives(_pid_of(path))]
        for path in taken:
            try:
                found += _UNSENT.decode(path.read_bytes())
            except msgspec.MsgspecError as error:
                log.warning("a file of exits can't be read, and is removed", path=str(path), error=str(error))
        self.keep_unsent(found)
        for path in taken:
            if _pid_of(path) != str(os.getpid()):
                path.unlink(missing_ok=True)
        return found

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other supervisors out. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, task: str) -> Path:
        return self.folder / f"{file_name(task)}.json"

    def _read(self, path: Path) -> TaskStanding | None:
        try:
            return _DECODER.decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("it can't be read how a task stands", path=str(path), error=str(error))
            return None

    def _replace(self, path: Path, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}.new")
        draft.write_bytes(content)
        draft.replace(path)


def _pid_of(unsent: Path) -> str:
    return unsent.stem.removeprefix("unsent-")


def _lives(pid: str) -> bool:
    if pid == str(os.getpid()):
        return False  # the one that was called so before
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
