"""What can go wrong with a medium, and which exit code says so.

MediaError                exit code 1
├── PreconditionError     4: what the work needs isn't there, or has changed
├── NoFileSystemError     7: nothing on the medium that could be enumerated
├── UnsupportedError      7: what is there is known, but can't be read
└── MalformedError        7: a listing, a map or rules are not as they must be
"""

from typing import ClassVar

from tallystick.contracts.media import ExitCode
from tallystick.errors import TallyError


class MediaError(TallyError):
    """A stage of a medium can't be carried out. `reason` is one word for programs."""

    exit_code: ClassVar[int] = ExitCode.OTHER

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason


class PreconditionError(MediaError):
    """What the work needs isn't there, or is another one than was identified."""

    exit_code = ExitCode.PRECONDITION


class NoFileSystemError(MediaError):
    """Neither a partition nor the whole image holds a file system; never to be mistaken for one without files."""

    exit_code = ExitCode.MALFORMED


class UnsupportedError(MediaError):
    """The medium holds what is known by its first bytes, but can't be read."""

    exit_code = ExitCode.MALFORMED


class MalformedError(MediaError):
    """A listing, a map or a file of rules is not as it must be."""

    exit_code = ExitCode.MALFORMED
