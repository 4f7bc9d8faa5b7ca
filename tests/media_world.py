"""A pipeline of media that tests share: each ingests media of its own, and meddles with their stages."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, socket
from unittest.mock import patch

from producers.media.identifying import look_at
from sinks.standing import SourceStanding
from tallystick.cli.media.stage_process import stage_argv
from tallystick.contracts.stages import Command, Verdict
from tallystick.settings import Settings
from tallystick.storage.crashing import VARIABLE
from tests.media_pipeline import Pipeline, pipeline
from tests.support import eventually

Argv = tuple[str, ...]
Act = Callable[[Argv], object]
HOSTILE = (b"new\nline", b"\x1c", rb"back\slash", b"\xff\xfe", b"-rf", b"#")
RULES = "#: caches\n(^|/)cache/\n"
SECONDS = 300.0


class World:
    """The pipeline, and what is to happen before a stage of a medium."""

    def __init__(self) -> None:
        self.line: Pipeline
        self._acts: dict[tuple[str, str], list[Act]] = {}

    @property
    def settings(self) -> Settings:
        """Those of the pipeline."""
        return self.line.settings

    def before(self, target: Path, stage: str, *acts: Act) -> None:
        """Call each of `acts` before one try at a stage; where it returns a command line, that is run instead."""
        self._acts[look_at(str(target)).medium, stage] = list(acts)

    def argv(self, command: Command, run: int) -> Argv:
        """Return the command line of a stage's process."""
        acts = self._acts.get((command.source, command.stage))
        argv = stage_argv(command, run)
        instead = acts.pop(0)(argv) if acts else None
        return instead if isinstance(instead, tuple) else argv

    def ingest(self, target: Path, **more: object) -> SourceStanding:
        """Take a target through its stages."""
        return self.line.ingest(target, seconds=SECONDS, **more)

    def query(self, text: str, **values: object) -> list[tuple[object, ...]]:
        """Return the rows of an SQL query."""
        return self.line.query(text, **values)

    def runs(self, medium: str, stage: str, *, count: int = 1) -> list[tuple[object, ...]]:
        """Return exit code and detail of each run of a stage, once there are so many that have ended."""
        text = "SELECT exit_code, detail FROM media_runs WHERE (medium, stage) = (:m, :s) AND revision = 1 ORDER BY run"
        return eventually(lambda: self.query(text, m=medium, s=stage), until=lambda rows: len(rows) >= count)


@contextmanager
def world_of(settings: Settings, *, rules: str = "") -> Iterator[World]:
    """Run a pipeline to be meddled with; `rules` exclude paths from being copied."""
    world = World()
    patterns = {}
    if rules:
        path = settings.home / "patterns"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rules)
        patterns = {"TALLY_MEDIA__PATTERNS": str(path)}
    with patch.dict(os.environ, patterns), pipeline(settings, argv=world.argv) as world.line:
        yield world


def dying_at(point: str) -> Callable[[Argv], Argv]:
    """Return what has a stage's process die by SIGKILL at a named point."""
    return lambda argv: ("env", f"{VARIABLE}={point}", *argv)


def unheard(argv: Argv) -> Argv:
    """Return a command line that does all that `argv` does, and is killed before anybody hears of it."""
    code = (
        "import os, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); os.kill(os.getpid(), 9)"
    )
    return (sys.executable, "-c", code, *argv)


def verdicts(found: SourceStanding) -> dict[str, Verdict]:
    """Return the verdict on each stage that has one."""
    return {stage.stage: stage.verdict for stage in found.stages if stage.verdict}


def reason(found: SourceStanding, stage: str) -> str:
    """Return the reason of the verdict on a stage."""
    return next(one.reason for one in found.stages if one.stage == stage)


def plant(folder: Path, word: str, *, files: int = 5) -> Path:
    """Make a folder of so many files whose contents begin with `word`, which nothing else has."""
    folder.mkdir(parents=True)
    for number in range(files):
        _write(folder / f"file{number}", f"{word} {number}".encode())
    return folder


def plant_wild(folder: Path, word: str) -> Path:
    """Make a folder with all that is unusual: names, links, holes, things that are no files, excluded paths."""
    plant(folder, word, files=1)
    for number, name in enumerate(HOSTILE):
        _write(Path(os.fsdecode(bytes(folder) + b"/" + name)), f"{word} hostile {number}".encode())
    for below in ("cache", "kept"):
        (folder / below).mkdir()
    _write(folder / "cache" / "only", f"{word} left out".encode())
    _write(folder / "cache" / "both", f"{word} by one of two".encode())
    os.link(folder / "cache" / "both", folder / "kept" / "both")
    (folder / "loop").symlink_to(".")
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "fifo")
    with socket(AF_UNIX) as made:
        at = Path.cwd()
        os.chdir(folder)  # the path of a socket must be short
        try:
            made.bind("socket")
        finally:
            os.chdir(at)
    return folder


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, (1_000_000_000, 1_000_000_000))
