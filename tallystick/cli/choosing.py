"""What `tally load` and `tally run reader` are asked to read: files that are named, or those of configured sensors."""

from collections.abc import Sequence
from datetime import UTC, datetime

from producers.cowrie.reader import check_sensor
from producers.cowrie.selection import Job, choose, job_of_paths, select
from tallystick.errors import UsageError
from tallystick.settings import Settings


def jobs_of(settings: Settings, paths: Sequence[str], *, sensor: str | None, days: int | None) -> list[Job]:
    """Return what is to be read. Raises UsageError where the arguments don't fit together, or nothing is left to read.

    With `paths`, `sensor` is that of events that name none. Without, it names configured sensors, and `days` leaves out
    files whose content is older.
    """
    if paths:
        if days is not None:
            raise UsageError("--days goes with the files of configured sensors: leave it out, or leave the paths out")
        check_sensor(sensor)
        return [job_of_paths(settings.sensor, paths, sensor=sensor)]
    if sensor is None:
        raise UsageError("nothing to read was named: give files or folders, or --sensor all for the configured sensors")
    jobs = select(choose(settings.sensor, sensor), days=days, now=datetime.now(UTC))
    if not any(job.files for job in jobs):
        left_out = sum(job.too_old for job in jobs)
        raise UsageError(f"nothing to read: all of {left_out} files are older than {days} days; give more --days")
    return jobs


def left_out(jobs: Sequence[Job], days: int | None) -> list[str]:
    """Return what a user should know of files that were too old, a line a sensor."""
    return [
        f"{job.sensor}: {job.too_old} files older than {days} days left out"
        + ("" if job.files else "; nothing is left to read")
        for job in jobs
        if job.too_old
    ]
