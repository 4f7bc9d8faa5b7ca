"""AT Protocol: a backfill of many repositories by the command, from a host's list to the last verdict."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec
import psutil
import sqlalchemy as sa

from tallystick.cli.atproto.counting import Wanted, read_counts
from tallystick.database.engine import make_engine
from tallystick.settings import Settings
from tests.bench.processes import MIB, Roles, Usage, roles
from tests.support import TALLY, environment

STAGES = ("fetched", "persisted", "verified")
NAMES = ("repositories", "records", "s to the end", *(f"{stage}/s" for stage in STAGES), "count query, ms", "host MiB")
_LOOK_SECONDS = 0.5


class Backfilled(msgspec.Struct):
    """One backfill. `seconds` are the command's, its start and its end included. `rates` are repositories by stage,
    each from the beginning of the first fetch to the last verdict of the stage; `count_ms` is what the command's own
    look at the database takes in the end.
    """

    repositories: int
    records: int
    seconds: float
    rates: dict[str, float]
    count_ms: float
    host_mib: float
    usage: dict[str, Usage]


def measure(settings: Settings, *, repositories: int, watch: Callable[[Roles], None]) -> Backfilled:
    """Return what a backfill takes. The host runs in a process of its own, and has all repositories before the start.

    `settings` name servers, with topics and a schema that nobody else uses. `watch` names others whose use counts.
    """
    with host_of(repositories) as (host, url, records), roles(settings, settings.home / "roles.log") as running:
        watch(running)
        running.start_clock()
        began = time.monotonic()
        _run(settings, url, running)
        seconds = time.monotonic() - began
        usage = running.used()
        host_mib = psutil.Process(host.pid).memory_info().rss / MIB
    rates, count_ms = _looked_up(settings, repositories)
    return Backfilled(repositories, records, seconds, rates, count_ms, host_mib, usage)


@contextmanager
def host_of(repositories: int) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """Run a host of so many repositories; gives its process, its URL and how many records it has."""
    command = [sys.executable, "-m", "tests.backfill_host", str(repositories)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        try:
            url, records = host.stdout.readline().split()
            yield host, url, int(records)
        finally:
            host.kill()


def _run(settings: Settings, url: str, running: Roles) -> None:
    """Run the command to its end, and watch it and its roles meanwhile."""
    env = {**environment(settings), "TALLY_ATPROTO__PLC_URL": url, "TALLY_ATPROTO__PRIVATE_HOSTS": "true"}
    command = [*TALLY, "atproto", "backfill", f"--host={url}", "--json"]
    said = settings.home / "backfill.log"
    with said.open("wb") as log, psutil.Popen(command, env=env, stdout=log, stderr=log) as process:
        named: dict[int, str] = {}
        while process.poll() is None:
            for child in process.children(recursive=True):
                if child.pid not in named and (name := _role_of(child)):
                    same = list(named.values()).count(name)
                    named[child.pid] = name
                    running.watch(f"{name}, {same + 1}" if same else name, child)
            time.sleep(_LOOK_SECONDS)
    if process.returncode:
        sys.exit(f"bench: the backfill ended with exit code {process.returncode}:\n{said.read_text()[-2000:]}")


def _role_of(process: psutil.Process) -> str:
    """Return which role a process is, empty where it is none, or not yet."""
    words: list[str] = []
    with suppress(psutil.NoSuchProcess):
        words = process.cmdline()
    if "tallystick.cli.run" not in words[:3]:
        return ""
    return " ".join(words[3:5]) if words[3] == "sinks" else words[3]


def _looked_up(settings: Settings, repositories: int) -> tuple[dict[str, float], float]:
    """Return the rate of each stage, and how many milliseconds the command's count takes."""
    query = """
        SELECT extract(epoch FROM max(ended_at) FILTER (WHERE stage = :stage)
                                - min(started_at) FILTER (WHERE stage = 'fetched')) FROM source_stages
    """
    engine = make_engine(settings)
    try:
        with engine.connect() as connection:
            rates = {
                stage: repositories / float(connection.scalar(sa.text(query), {"stage": stage})) for stage in STAGES
            }
            began = time.monotonic()
            counts = read_counts(connection, Wanted())
            count_ms = (time.monotonic() - began) * 1000
    finally:
        engine.dispose()
    if counts.succeeded != repositories:
        sys.exit(f"bench: of {repositories} repositories {counts.succeeded} succeeded")
    return rates, count_ms


def rows(found: list[Backfilled]) -> list[tuple[str, ...]]:
    """Return the rows of a table."""
    return [
        (
            f"{one.repositories:,}",
            f"{one.records:,}",
            f"{one.seconds:.1f}",
            *(f"{one.rates[stage]:,.0f}" for stage in STAGES),
            f"{one.count_ms:.0f}",
            f"{one.host_mib:.0f}",
        )
        for one in found
    ]


def usage_rows(found: list[Backfilled]) -> list[tuple[str, ...]]:
    """Return the rows of the table of what each process used."""
    return [
        (f"{one.repositories:,}", name, f"{used.peak_mib:.0f}", f"{used.cpu_seconds:.1f}")
        for one in found
        for name, used in one.usage.items()
    ]
