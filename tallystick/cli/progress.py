"""How a load is shown while it runs: bars on a terminal, a line every few seconds in a pipe."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TextIO

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tallystick.cli.terminal import safe


class Stage(msgspec.Struct, frozen=True):
    """How far a stage is: `done` of `total`, in `unit`; `total` grows while more is found."""

    name: str
    done: int
    total: int
    unit: str

    @property
    def share(self) -> float:
        """From 0 to 1, never more; 0 while nothing is known."""
        return min(1.0, self.done / self.total) if self.total else 0.0


class View(Protocol):
    """Shows stages and messages until it is left."""

    def show(self, stages: list[Stage]) -> None:
        """Show the newest state."""

    def say(self, text: str) -> None:
        """Show one line that stays, with visible escapes."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""


def make_view(stream: TextIO) -> View:
    """Return the view that suits `stream`."""
    return BarView(stream) if stream.isatty() else LineView(stream)


class LineView:
    """Plain lines: one when something changed, at most every `seconds`."""

    def __init__(
        self, stream: TextIO = sys.stdout, *, seconds: float = 2.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._seconds, self._clock = stream, seconds, clock
        self._last = ""
        self._shown_at = float("-inf")

    def show(self, stages: list[Stage]) -> None:
        """Print a line where the state has changed and the last one is old enough, or all is done."""
        line = " | ".join(f"{s.name} {int(s.share * 100)} % ({s.done:,}/{s.total:,} {s.unit})" for s in stages)
        done = bool(stages) and all(stage.total and stage.done >= stage.total for stage in stages)
        if line != self._last and (done or self._clock() - self._shown_at >= self._seconds):
            self._last, self._shown_at = line, self._clock()
            self.say(line)

    def say(self, text: str) -> None:
        """Print a line."""
        self._stream.write(safe(text) + "\n")
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()


class BarView:
    """A bar for each stage."""

    def __init__(self, stream: TextIO) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=Console(file=stream, markup=False, highlight=False),
        )
        self._tasks: dict[str, TaskID] = {}

    def show(self, stages: list[Stage]) -> None:
        """Move the bars."""
        for stage in stages:
            if stage.name not in self._tasks:
                self._tasks[stage.name] = self._progress.add_task(stage.name, total=1.0, counts="")
            self._progress.update(
                self._tasks[stage.name],
                completed=stage.share,
                counts=f"{stage.done:,} of {stage.total:,} {stage.unit}",
            )

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(safe(text))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
