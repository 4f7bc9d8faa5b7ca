"""AT Protocol: a stream followed from the socket into Kafka, at each level of validation, and its memory meanwhile."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import psutil

from tallystick.contracts.measures import Sample
from tallystick.settings import Settings
from tests.bench.processes import MIB
from tests.support import ROLE, environment

LEVELS = ("off", "hash", "signature", "inductive")
ACCOUNTS = 500
BEGUN = 0.2
"""After this part of the commits the clock starts: by then identities are known, and buffers have their size."""
NAMES = ("validation", "commits", "commits/s", "commits per CPU s", "MiB at a fifth", "MiB at the end")


class Followed(msgspec.Struct):
    """One stream of synthetic commits. `rate` is by the clock, `cpu_rate` by the role's processor time."""

    level: str
    commits: int
    rate: float
    cpu_rate: float
    mib_begun: float
    mib_end: float


class _Said(msgspec.Struct):
    measures: list[Sample] = []


def measure(settings: Settings, *, commits: int, levels: tuple[str, ...] = LEVELS) -> Iterator[Followed]:
    """Yield a figure a level. The host runs in a process of its own, and makes commits as fast as they are taken.

    `settings` name a Kafka with topics; each level follows another stream.
    """
    for level in levels:
        with synthetic_host(commits) as port:
            yield _follow(settings, level, port, commits)


@contextmanager
def synthetic_host(commits: int) -> Iterator[int]:
    """Run a host that has so many commits; gives its port."""
    command = [sys.executable, "-m", "tests.synthetic_host", str(commits), str(ACCOUNTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        try:
            yield int(host.stdout.readline())
        finally:
            host.kill()


def follower_environment(settings: Settings, port: int, level: str) -> dict[str, str]:
    """Return the environment of a role that follows a synthetic host."""
    url = f"http://127.0.0.1:{port}"
    return {**environment(settings), "TALLY_ATPROTO__PLC_URL": url, "TALLY_ATPROTO__VALIDATION": level}


def _follow(settings: Settings, level: str, port: int, commits: int) -> Followed:
    command = [*ROLE, "atproto-firehose", f"--host=ws://127.0.0.1:{port}", "--from=oldest"]
    with subprocess.Popen(
        command,
        env=follower_environment(settings, port, level),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as role:
        assert role.stdout is not None
        process = psutil.Process(role.pid)
        begun: tuple[float, float, float, float] | None = None
        for line in role.stdout:
            acknowledged = _acknowledged(line)
            seen = (acknowledged, time.monotonic(), _cpu(process), process.memory_info().rss / MIB)
            if begun is None and acknowledged >= BEGUN * commits:
                begun = seen
            if acknowledged >= commits:
                break
        role.terminate()
    if begun is None or seen[0] < commits:
        sys.exit(f"bench: the stream at level {level} ended after {seen[0]:.0f} of {commits} commits")
    return Followed(
        level=level,
        commits=commits,
        rate=(seen[0] - begun[0]) / (seen[1] - begun[1]),
        cpu_rate=(seen[0] - begun[0]) / (seen[2] - begun[2]),
        mib_begun=begun[3],
        mib_end=seen[3],
    )


def _acknowledged(line: str) -> float:
    samples = msgspec.json.decode(line, type=_Said).measures
    return max((one.value for one in samples if one.name == "tally_atproto_acknowledged_seq"), default=0.0)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def rows(found: list[Followed]) -> list[tuple[str, ...]]:
    """Return the rows of a table."""
    return [
        (
            one.level,
            f"{one.commits:,}",
            f"{one.rate:,.0f}",
            f"{one.cpu_rate:,.0f}",
            f"{one.mib_begun:.0f}",
            f"{one.mib_end:.0f}",
        )
        for one in found
    ]
