"""What is said of files that can't be looked at or read: once when it begins, once when it is over."""

from collections.abc import Mapping

from producers.cowrie.discovery import as_text
from tallystick.logs import get_logger

log = get_logger(__name__)


class Complaints:
    """Remembers what was said of which path."""

    def __init__(self) -> None:
        self._looking: dict[str, str] = {}
        self._reading: dict[str, str] = {}

    def of_looking(self, problems: Mapping[str, str]) -> None:
        """Say what can't be looked at now, and what can be again; `problems` are all there are, by path."""
        for path, reason in problems.items():
            _say(self._looking, path, reason)
        for path in self._looking.keys() - problems.keys():
            _take_back(self._looking, path)

    def of_reading(self, path: str, reason: str) -> None:
        """Say that a file can't be read."""
        _say(self._reading, path, reason)

    def is_unreadable(self, path: str) -> bool:
        """Whether the last try to read it failed."""
        return path in self._reading

    def end(self, path: str) -> None:
        """Say that a file can be read again, if it could not be."""
        if path in self._reading:
            _take_back(self._reading, path)


def _say(said: dict[str, str], path: str, reason: str) -> None:
    if said.get(path) != reason:
        log.warning("waiting for a log", path=as_text(path), reason=reason)
        said[path] = reason


def _take_back(said: dict[str, str], path: str) -> None:
    log.info("a log is there again", path=as_text(path), reason=said.pop(path))
