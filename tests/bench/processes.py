"""Running roles for a benchmark: warm before the clock starts, with the memory that each of them peaks at."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from tallystick.cli.deployment import YIELDS
from tallystick.settings import Settings
from tests.support import ROLE, environment

MIB = 1024 * 1024


class Usage(msgspec.Struct):
    """What a process used: peak memory in MiB, and CPU seconds since the clock was started."""

    peak_mib: float = 0.0
    cpu_seconds: float = 0.0


LOOK_SECONDS = 1.0
"""How often memory is looked at. Each look reads the table of all processes, which takes from what is measured."""


class Roles:
    """Role processes of one deployment, and a thread that watches what they use."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._log = log
        self.environment = environment(settings)
        """What those that are started from now on find."""
        self._processes: dict[str, psutil.Process] = {}
        self._started: dict[str, psutil.Popen] = {}
        self._before: dict[str, float] = {}
        self.usage: dict[str, Usage] = {}
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def start(self, *arguments: str) -> psutil.Popen:
        """Start `tally run …` and return its process."""
        name = " ".join(arguments[:2]) if arguments[0] == "sinks" else arguments[0]
        with self._log.open("ab") as log:
            process = psutil.Popen([*ROLE, *arguments], env=self.environment, stdout=subprocess.DEVNULL, stderr=log)
        self._started[name] = process
        process.nice(YIELDS.get("-".join(arguments) if arguments[0] == "sinks" else arguments[0], 0))
        self.watch(name, psutil.Process(process.pid))
        return process

    def start_clock(self) -> None:
        """Leave out of every figure what has been used so far."""
        self._look()
        self._before = {name: usage.cpu_seconds for name, usage in self.usage.items()}

    def used(self) -> dict[str, Usage]:
        """Return what each process has used since the clock was started."""
        self._look()
        return {
            name: Usage(usage.peak_mib, usage.cpu_seconds - self._before.get(name, 0.0))
            for name, usage in self.usage.items()
        }

    def memory(self) -> dict[str, float]:
        """Return how many MiB each process holds now."""
        return {name: _memory(_family(process)) for name, process in self._processes.items()}

    def watch(self, name: str, process: psutil.Process) -> None:
        """Watch a process that was not started here, such as the broker."""
        self._processes[name] = process

    def stop(self) -> None:
        """Stop what was started here and wait for it."""
        self._stop.set()
        self._watcher.join()
        for process in self._started.values():
            if process.poll() is None:
                process.terminate()
        for process in self._started.values():
            process.wait(30)

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        for name, process in list(self._processes.items()):
            try:
                family = _family(process)
                memory = _memory(family)
                cpu = sum(sum(member.cpu_times()[:2]) for member in family)
            except psutil.NoSuchProcess:
                continue
            usage = self.usage.setdefault(name, Usage())
            usage.peak_mib = max(usage.peak_mib, memory)
            usage.cpu_seconds = max(usage.cpu_seconds, cpu)


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _memory(family: Sequence[psutil.Process]) -> float:
    return sum(member.memory_info().rss for member in family) / MIB


@contextmanager
def roles(settings: Settings, log: Path) -> Iterator[Roles]:
    """Give a place to run roles in, and stop them in the end."""
    running = Roles(settings, log)
    try:
        yield running
    finally:
        running.stop()


def wait_for(look: Callable[[], bool], *, what: str, seconds: float = 600.0, every: float = 0.02) -> float:
    """Wait until `look` is True and return the time at which it was; ends the benchmark after `seconds`.

    It looks `every` so many seconds: seldom where looking takes something from what is measured.
    """
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            sys.exit(f"bench: {what} did not happen within {seconds:.0f} s")
        time.sleep(every)
    return time.monotonic()


def read_log(settings: Settings, path: Path) -> float:
    """Read a log to its end in a process of its own; return the seconds that it took."""
    started = time.monotonic()
    done = subprocess.run(
        [*ROLE, "reader", str(path)], env=environment(settings), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"bench: the reader failed:\n{done.stderr}")
    return time.monotonic() - started


def print_table(title: str, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n")
    print("| " + " | ".join(names) + " |")
    print("|" + "|".join(" --- " for _ in names) + "|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row) + " |")


def write_json(path: Path, value: object) -> None:
    """Write the figures for programs."""
    path.write_text(json.dumps(msgspec.to_builtins(value), indent=2) + "\n")
