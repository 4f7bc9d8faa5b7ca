"""Store, archive and image: the process dies by SIGKILL at each named point, the disk is full, two do the same at once.

Whatever happened, running it again ends in the same files as if nothing had.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from tallystick.errors import NoSpaceError, StorageError
from tallystick.storage.archives import PARTIAL, Wanted, decode, write_archive
from tallystick.storage.crashing import VARIABLE
from tallystick.storage.store import TEMPORARY, Blob, Store

CONTENTS = [b"first" * 1000, b"", b"second" * 300_000]
PUBLISH = """
import sys
from pathlib import Path
from tests.faults.test_media_storage_killed import CONTENTS
from tallystick.storage.store import Store
store = Store(Path(sys.argv[1]))
store.sweep()
for content in CONTENTS:
    blocks = [content[at:at + 500_000] for at in range(0, len(content), 500_000)]
    print(int(store.publish(blocks, size=len(content)).created))
"""
ARCHIVE = """
import sys
from pathlib import Path
from tallystick.storage.archives import Wanted, write_archive
folder = Path(sys.argv[1])
write_archive(folder / "x.tar.zst", [Wanted(name.encode(), folder / name) for name in ("image", "map")])
"""
IMAGE = """
import sys
from pathlib import Path
from producers.media import rescue
from producers.media.imaging import image_device
rescue.MAP_BYTES = 2 << 20
image_device(Path(sys.argv[1]) / "device", "0" * 32, images=Path(sys.argv[1]) / "img", program="no such program")
"""


def run(code: str, folder: Path, *, crash_at: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={**os.environ, VARIABLE: crash_at},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_killed(code: str, folder: Path, point: str) -> None:
    assert run(code, folder, crash_at=point).returncode == -signal.SIGKILL, f"nothing dies at {point}"


def run_well(code: str, folder: Path) -> str:
    done = run(code, folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def held(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file below a folder: its permissions and the digest of what it holds."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, blake3(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """What a store holds after everything was published once."""
    root = tmp_path_factory.mktemp("undisturbed")
    assert run_well(PUBLISH, root).split() == ["1", "1", "1"]
    return held(root)


@pytest.mark.parametrize("time", [1, 3])
@pytest.mark.parametrize(
    "point",
    ["created", "half-written", "written", "synced", "linked", "unlinked"],
)
def test_8_9_a_store_is_the_same_after_a_death_and_another_run(
    point: str, time: int, tmp_path: Path, undisturbed: dict[str, tuple[int, str]]
) -> None:
    run_killed(PUBLISH, tmp_path, f"store.{point}:{time}")
    whole = [blob for blob in held(tmp_path).items() if not blob[0].startswith(TEMPORARY)]
    assert dict(whole).items() <= undisturbed.items(), "what has its final name is whole"
    created = run_well(PUBLISH, tmp_path).split()
    assert created.count("0") == len(whole), "what was there is adopted, not counted as new"
    assert held(tmp_path) == undisturbed, "and no temporary file is left"


@pytest.mark.parametrize("point", ["half-written", "written", "synced", "decoded", "named"])
def test_29_an_archive_is_there_whole_or_not_at_all(point: str, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(os.urandom(3_000_000))
    (tmp_path / "map").write_bytes(b"# a map")
    sources = {name: digest for name, digest in held(tmp_path).items() if name in ("image", "map")}
    final, partial = tmp_path / "x.tar.zst", tmp_path / f"x.tar.zst{PARTIAL}"
    run_killed(ARCHIVE, tmp_path, f"archive.{point}")
    assert (final.exists(), partial.exists()) == ((True, False) if point == "named" else (False, True))
    run_well(ARCHIVE, tmp_path)
    assert [(member.name, member.digest) for member in decode(final).members] == [
        (name.encode(), digest) for name, (_, digest) in sorted(sources.items())
    ]
    assert not partial.exists()
    assert sources.items() <= held(tmp_path).items(), "sources are never touched"


@pytest.mark.parametrize("point", ["half-read:1", "half-read:4", "mapped:1", "mapped:2", "synced", "named"])
def test_an_image_goes_on_where_it_was(point: str, tmp_path: Path) -> None:
    content = os.urandom(5_000_000)
    (tmp_path / "device").write_bytes(content)
    run_killed(IMAGE, tmp_path, f"image.{point}")
    run_well(IMAGE, tmp_path)
    assert (tmp_path / "img" / f"{'0' * 32}.img").read_bytes() == content
    assert {path.suffix for path in (tmp_path / "img").iterdir()} == {".img", ".map"}


def test_an_image_trusts_its_map_only_where_its_own_file_is_there(tmp_path: Path) -> None:
    content = os.urandom(5_000_000)
    (tmp_path / "device").write_bytes(content)
    run_killed(IMAGE, tmp_path, "image.mapped:1")
    (tmp_path / "img" / f"{'0' * 32}.img{PARTIAL}").unlink()
    run_well(IMAGE, tmp_path)
    assert (tmp_path / "img" / f"{'0' * 32}.img").read_bytes() == content


RACE = """
import os, sys
from pathlib import Path
from tallystick.storage.store import Store
store = Store(Path(sys.argv[1]))
for number in range(40):
    def blocks():
        yield b"%d" % number * 1000
        print("ready", flush=True)
        sys.stdin.readline()
    size = len(b"%d" % number * 1000)
    print(store.publish(blocks(), size=size).created, flush=True)
"""


def test_22_of_two_processes_that_publish_the_same_at_once_one_has_created_it(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for _ in range(40):
        assert [racer.stdout.readline() for racer in racers if racer.stdout] == ["ready\n"] * 2
        for racer in racers:
            assert racer.stdin
            racer.stdin.write("go\n")
            racer.stdin.flush()
        assert sorted(racer.stdout.readline() for racer in racers if racer.stdout) == ["False\n", "True\n"]
    for racer in racers:
        racer.communicate(timeout=60)
        assert racer.returncode == 0
    store = Store(tmp_path)
    assert len(list(store.entries())) == 40
    assert list((tmp_path / TEMPORARY).iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    mount = shutil.which("mount")
    folder = tmp_path / "small"
    folder.mkdir()
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("optional: a file system of a few MiB can be mounted only by root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_33_a_full_store_says_so_keeps_what_it_has_and_goes_on_once_there_is_room(small_disk: Path) -> None:
    store = Store(small_disk / "by-hash")
    kept = store.publish([b"kept"], size=4)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(2_000_000))
    block = os.urandom(1_000_000)
    with pytest.raises(NoSpaceError, match="make room"):
        store.publish([block, block], size=2_000_000)
    assert list(store.entries()) == [Blob(kept.blobid, 4)]
    assert store.verify(kept.blobid) == kept.blobid
    assert list((store.root / TEMPORARY).iterdir()) == []
    filler.unlink()
    assert store.publish([block, block], size=2_000_000).created


@pytest.mark.parametrize("size", [3 * 1024 * 1024, 5_000_000], ids=["by a little", "by much"])
def test_33_an_archive_that_finds_no_room_leaves_nothing(size: int, small_disk: Path, tmp_path: Path) -> None:
    source = tmp_path / "image"
    source.write_bytes(os.urandom(size))
    final = small_disk / "x.tar.zst"
    with pytest.raises(NoSpaceError):
        write_archive(final, [Wanted(b"image", source)])
    assert list(small_disk.iterdir()) == []
    assert source.stat().st_size == size


def test_two_cannot_write_one_archive_at_once(tmp_path: Path) -> None:
    source = tmp_path / "image"
    source.write_bytes(b"x" * 100)
    final = tmp_path / "x.tar.zst"
    seen: list[str] = []

    def meanwhile() -> None:
        if not seen:
            seen.append("")
            with pytest.raises(StorageError) as caught:
                write_archive(final, [Wanted(b"image", source)])
            seen.append(str(caught.value))

    archive = write_archive(final, [Wanted(b"image", source)], progress=meanwhile)
    assert seen == ["", f"another process writes {final}{PARTIAL}; let it come to its end"]
    assert decode(final) == archive
