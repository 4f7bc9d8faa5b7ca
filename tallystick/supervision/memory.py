"""Whether the kernel has killed for want of memory, as the control group (cgroup v2) of this process counts it."""

from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


class OutOfMemoryKills:
    """Attributes the kernel's out-of-memory kills, one by one, to processes that ended by SIGKILL.

    `events` is a `memory.events` file; without one, that of this process's own group, which its children share.
    Where there is none (another system, cgroup v1, the root group) nothing is ever attributed.
    """

    def __init__(self, events: Path | None = None) -> None:
        self._events = events or _own_events()
        self._attributed = self._count()

    def attribute(self) -> bool:
        """Return True, once for each kill that was counted since this object was made."""
        if self._count() <= self._attributed:
            return False
        self._attributed += 1
        return True

    def _count(self) -> int:
        if self._events is None or not self._events.is_file():
            return 0
        fields = dict(line.split() for line in self._events.read_text().splitlines())
        return int(fields.get("oom_kill", 0))


def _own_events() -> Path | None:
    if not _OWN_CGROUP.is_file():
        return None
    for line in _OWN_CGROUP.read_text().splitlines():
        hierarchy, _, path = line.split(":", 2)
        if hierarchy == "0":
            return _CGROUPS / path.lstrip("/") / "memory.events"
    return None
