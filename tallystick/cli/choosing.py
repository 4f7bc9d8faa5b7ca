"""What `tally load` and the readers are asked to read: files that are named, or those of configured sensors."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from producers.cowrie.formats import Format
from producers.cowrie.reader import check_sensor
from producers.cowrie.selection import FOLLOWED, Followed, Job, choose, follow, follow_paths, job_of_paths, select
from tallystick.errors import UsageError
from tallystick.settings import Settings


class Asked(msgspec.Struct, frozen=True):
    """What a command line asks a reader to read.

    With `paths`, `sensor` is that of events that name none, and `form` that in which events stand in them. Without,
    `sensor` names configured sensors, and `days` leaves out files whose content is older.
    """

    paths: tuple[str, ...]
    sensor: str | None = None
    days: int | None = None
    form: Format | None = None

    def check(self) -> None:
        """Raise UsageError where the arguments don't fit together."""
        if self.paths:
            if self.days is not None:
                raise UsageError("--days goes with --sensor and without paths: leave it out, or leave the paths out")
            check_sensor(self.sensor)
        elif self.sensor is None:
            raise UsageError("nothing to read was named: give files or folders, or --sensor all for configured sensors")
        elif self.form is not None:
            raise UsageError("--format goes with paths: that of a configured sensor stands in its table")

    def check_followed(self) -> None:
        """Raise UsageError where the arguments don't fit together, or what they ask for can't be followed."""
        if self.form is not None and self.form not in FOLLOWED:
            raise UsageError(f"logs are followed line by line: leave --format {self.form.value} or --follow out")
        if self.days is not None:
            raise UsageError("--days goes with a reader that ends: leave --days or --follow out")
        self.check()

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `tally run reader` that say the same as `days` and `form`."""
        days = () if self.days is None else ("--days", str(self.days))
        return (*days, *(() if self.form is None else ("--format", self.form.value)))


def jobs_of(settings: Settings, asked: Asked) -> list[Job]:
    """Return what is to be read, as files. Raises UsageError for unknown sensors, or where nothing is left to read."""
    if asked.paths:
        return [job_of_paths(settings.sensor, asked.paths, sensor=asked.sensor, form=asked.form)]
    jobs = select(choose(settings.sensor, asked.sensor or ""), days=asked.days, now=datetime.now(UTC))
    if not any(job.files for job in jobs):
        raise UsageError(f"nothing is left to read: {'; '.join(left_out(jobs, asked.days))}; give more --days")
    return jobs


def followed_of(settings: Settings, asked: Asked) -> list[Followed]:
    """Return what is to be followed. Raises UsageError for unknown sensors, and for those that can't be followed."""
    if asked.paths:
        return [follow_paths(settings.sensor, asked.paths, sensor=asked.sensor)]
    return follow(choose(settings.sensor, asked.sensor or ""))


def left_out(jobs: Sequence[Job], days: int | None) -> list[str]:
    """Return which files a user may miss, a line for each sensor and reason."""
    lines = []
    for job in jobs:
        end = "" if job.files else "; none of its files is left"
        if job.too_old:
            lines.append(f"{job.sensor}: left out {_files(job.too_old)} older than {days} days{end}")
        if job.taken:
            lines.append(f"{job.sensor}: left out {_files(job.taken)} that a sensor before it has as well{end}")
    return lines


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number:,} files"
