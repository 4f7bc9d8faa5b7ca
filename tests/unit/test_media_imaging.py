"""Imaging: all that can be read is in the image, and the map tells of all that can't."""

import ctypes
import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from producers.media.imaging import DDRESCUE, Imaged, image_device, image_path, map_path
from producers.media.rescue import Rescue, ddrescue, plain_pass, read_map
from tallystick.contracts import rescue_maps
from tallystick.contracts.media import IMAGE_COUNTS
from tallystick.contracts.rescue_maps import BAD, READ, UNTRIED, Extent, RescueMap
from tallystick.errors import NoSpaceError, StorageError
from tallystick.storage.archives import PARTIAL

ID = "0" * 32
MIB = 1024 * 1024
CONTENT = os.urandom(MIB) + bytes(MIB) + os.urandom(MIB + 1000)
PLAIN = "there is no program of this name"


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "device"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(params=[DDRESCUE, PLAIN], ids=["ddrescue", "the plain pass"])
def program(request: pytest.FixtureRequest) -> str:
    if request.param == DDRESCUE and not shutil.which(DDRESCUE):
        pytest.skip("optional: ddrescue is not installed")
    return str(request.param)


def image(device: Path, program: str) -> Imaged:
    return image_device(device, ID, images=device.parent / "img", program=program)


def rescue_of(device: Path, size: int, folder: Path) -> Rescue:
    path = folder / "image"
    path.write_bytes(b"")
    return Rescue(device, size, path, folder / "map", folder / "log")


def test_an_image_is_what_the_device_holds_and_is_there_the_second_time(device: Path, program: str) -> None:
    imaged = image(device, program)
    images = device.parent / "img"
    path, chart = image_path(ID, images=images), map_path(ID, images=images)
    assert path.read_bytes() == CONTENT
    assert imaged == Imaged(size=len(CONTENT), bad_bytes=0, digest=blake3(CONTENT).hexdigest())
    assert tuple(imaged.counts) == IMAGE_COUNTS
    assert rescue_maps.parse(chart.read_bytes()) == RescueMap((Extent(0, len(CONTENT), READ),), finished=True)
    assert not path.with_name(path.name + PARTIAL).exists()
    before = path.stat()
    assert image(device, program) == imaged
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_link_to_a_device_is_followed(device: Path, program: str) -> None:
    link = device.with_name("by-id")
    link.symlink_to(device)
    assert image(link, program).size == len(CONTENT)


@pytest.fixture
def holed_memory() -> Iterator[tuple[int, bytes]]:
    """Memory of this process from byte 1 Mi on, 1 MiB of it, with a page that can't be read: where, what lies there."""
    if not Path("/proc/self/mem").exists():
        pytest.skip("optional: needs Linux, which lets a process read its own memory as a file")
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    fixed_noreplace = 0x100000
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | fixed_noreplace
    if library.mmap(MIB, MIB, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0) != MIB:
        pytest.skip("optional: something lies at the address that is wanted")
    content = os.urandom(MIB)
    ctypes.memmove(MIB, content, MIB)
    hole = 300 * 1024
    library.munmap(MIB + hole, mmap.PAGESIZE)
    yield hole, content
    library.munmap(MIB, MIB)


def test_what_the_kernel_cannot_read_is_zeros_and_is_bad_to_the_sector(
    holed_memory: tuple[int, bytes], tmp_path: Path
) -> None:
    hole, content = holed_memory
    rescue = rescue_of(Path("/proc/self/mem"), 2 * MIB + 5000, tmp_path)
    plain_pass(rescue, progress=lambda: None)
    page = mmap.PAGESIZE
    wanted = bytes(MIB) + content[:hole] + bytes(page) + content[hole + page :] + bytes(5000)
    assert rescue.image.read_bytes() == wanted
    assert read_map(rescue.chart) == RescueMap(
        (
            Extent(0, MIB, BAD),
            Extent(MIB, hole, READ),
            Extent(MIB + hole, page, BAD),
            Extent(MIB + hole + page, MIB - hole - page, READ),
            Extent(2 * MIB, 5000, BAD),
        ),
        finished=True,
    )


def test_what_can_be_read_is_not_read_again(device: Path, tmp_path: Path) -> None:
    rescue = rescue_of(device, len(CONTENT), tmp_path)
    known = RescueMap((Extent(0, MIB, READ), Extent(MIB, MIB, BAD), Extent(2 * MIB, 1000, "/")), finished=False)
    rescue.chart.write_bytes(rescue_maps.render(known))
    told = 0

    def progress() -> None:
        nonlocal told
        told += 1

    plain_pass(rescue, progress=progress)
    assert rescue.image.read_bytes() == bytes(2 * MIB) + CONTENT[2 * MIB :]
    assert told == 2, "what was yet to be tried further, and what the map says nothing of"
    assert read_map(rescue.chart).extents == (
        Extent(0, MIB, READ),
        Extent(MIB, MIB, BAD),
        Extent(2 * MIB, MIB + 1000, READ),
    )


def test_a_device_that_fails_otherwise_than_sectors_do_ends_it(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Is a directory"):
        plain_pass(rescue_of(tmp_path, MIB, tmp_path), progress=lambda: None)
    assert not (tmp_path / "map").exists()


def test_whoever_follows_may_end_it_and_the_next_run_goes_on(device: Path) -> None:
    def ending() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        image_device(device, ID, images=device.parent / "img", program=PLAIN, progress=ending)
    assert not image_path(ID, images=device.parent / "img").exists()
    assert image(device, PLAIN).digest == blake3(CONTENT).hexdigest()


def test_a_device_that_is_shorter_than_its_map_is_another_one(device: Path) -> None:
    images = device.parent / "img"
    images.mkdir()
    (images / f"{ID}.img{PARTIAL}").write_bytes(CONTENT)
    chart = RescueMap((Extent(0, len(CONTENT) + 1, UNTRIED),), finished=False)
    map_path(ID, images=images).write_bytes(rescue_maps.render(chart))
    with pytest.raises(StorageError, match=f"tells of {len(CONTENT) + 1} bytes, but .* has {len(CONTENT)}"):
        image(device, PLAIN)


def test_an_image_of_another_device_is_not_taken_for_its(device: Path) -> None:
    image(device, PLAIN)
    os.truncate(device, MIB)
    with pytest.raises(StorageError, match=f"the device has {MIB}: move image and map away"):
        image(device, PLAIN)


def test_an_image_without_a_map_tells_nothing(device: Path) -> None:
    image(device, PLAIN)
    map_path(ID, images=device.parent / "img").unlink()
    with pytest.raises(StorageError, match=r"can't read .*\.map"):
        image(device, PLAIN)


def test_a_device_without_a_medium_is_no_empty_image(device: Path) -> None:
    os.truncate(device, 0)
    with pytest.raises(StorageError, match="holds nothing: put the medium in"):
        image(device, PLAIN)
    assert not (device.parent / "img").exists()


def _program(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("said", "error"), [("No space left on device", NoSpaceError), ("Can't open input file", StorageError)]
)
def test_a_program_that_fails_is_told_of_with_what_it_said(said: str, error: type, device: Path) -> None:
    program = _program(device.parent, f'echo "{said}" >&2; exit 1')
    with pytest.raises(error, match=f"ddrescue ended with 1 on .*: {said}"):
        image(device, program)
    assert not image_path(ID, images=device.parent / "img").exists()


@pytest.mark.parametrize("left", [b"", b"0 ?\n0 100 +\n", b"0 +\n0 100 +\n"], ids=["no map", "unfinished", "too short"])
def test_a_program_that_ends_well_and_did_nothing_has_made_no_image(left: bytes, device: Path) -> None:
    program = _program(device.parent, f"printf '{left.decode()!s}' > {device.parent}/img/{ID}.map")
    with pytest.raises(StorageError, match=r"is not finished|no ddrescue map"):
        image(device, program)
    assert not image_path(ID, images=device.parent / "img").exists()


def test_a_program_is_ended_with_whoever_follows_it(device: Path, tmp_path: Path) -> None:
    rescue = rescue_of(device, len(CONTENT), tmp_path)
    program = _program(tmp_path, f"echo $$ > {tmp_path}/pid; while :; do echo >> {rescue.image}; done")

    def ending() -> None:
        raise KeyboardInterrupt

    opened = os.open(rescue.image, os.O_RDWR)
    with pytest.raises(KeyboardInterrupt):
        ddrescue(rescue, program=program, lock=opened, progress=ending)
    os.close(opened)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
