"""Faults of media that need no servers to be seen. The numbers are those of docs/reference/media-faults.md."""

import sys
from itertools import count
from pathlib import Path

import msgspec
import pytest

from producers.media.enumeration import enumerate_medium
from producers.media.rules import Rules
from tallystick.cli.media.stage_process import run_process, stage_spec
from tallystick.contracts import media as contract
from tallystick.contracts.media import Form, Found, Mark, Medium, Problem, ProblemKind
from tallystick.settings import Settings
from tallystick.supervision.standing import Unwatched
from tests.media_fixtures import FOLDER, medium, unpack


def enumerated(name: str, folder: Path) -> list[Found | Problem]:
    path = unpack(name, folder)
    beside = FOLDER / f"{name}.map"
    what = medium(
        Form.IMAGE, path, image=bytes(path), map=bytes(beside) if beside.exists() else b"", size=path.stat().st_size
    )
    with enumerate_medium(what, Rules()) as found:
        return list(found)


@pytest.mark.parametrize("wrong", ["", "da69350a", "DA69350A" * 4, "da69350g" * 4, "da69350a" * 4 + "\n"])
def test_26_what_is_no_id_of_a_medium_is_neither_sent_nor_taken_in(wrong: str) -> None:
    sent = msgspec.json.encode(Medium(wrong, Form.TREE, 1, "x", b"/x", "2026-01-01T00:00:00Z"))
    with pytest.raises(msgspec.ValidationError):
        contract.decode_medium(sent)


def test_36_files_in_bad_sectors_are_marked_though_every_byte_of_them_can_be_read(tmp_path: Path) -> None:
    entries = enumerated("ext4_badblocks.img", tmp_path)
    damaged = {entry.path for entry in entries if isinstance(entry, Found) and Mark.DAMAGED in entry.marks}
    assert damaged == {b"docs/a.bin", b"docs/three", b"hl/one", b"hl/two"}
    told = [entry.path for entry in entries if isinstance(entry, Problem)]
    assert len(told) == 2
    assert set(told) < damaged, "each file once, whatever it is called"


def test_40_a_partition_that_lies_beyond_the_image_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    entries = enumerated("disk_mbr.img", tmp_path)
    assert [entry.kind for entry in entries if isinstance(entry, Problem)] == [ProblemKind.PARTITION_UNREADABLE]
    assert {entry.part for entry in entries if isinstance(entry, Found)} == {1, 2, 5}


def test_51_a_clock_that_goes_back_makes_no_duration_negative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    back = count(2_000_000_000, -3_600)
    monkeypatch.setattr("time.time", lambda: float(next(back)))
    spec = stage_spec("test", (sys.executable, "-c", ""), task="test")
    ended = run_process(Settings(home=tmp_path), spec, lambda: None, watcher=Unwatched(), tries_left=0)
    assert ended.code == 0
    assert ended.seconds >= 0
