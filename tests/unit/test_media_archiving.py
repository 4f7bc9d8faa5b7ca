"""What belongs to a medium's archive: named exactly, and nothing that only looks like it."""

from pathlib import Path

import pytest
from blake3 import blake3

from producers.media.archiving import archive_counts, archive_medium, archive_path, log_beside, wanted_of
from tallystick.contracts.media import ARCHIVE_COUNTS, Form
from tallystick.errors import StorageError
from tallystick.storage.archives import decode
from tests.media_fixtures import medium

ID = "0" * 32
IMAGE = b"an image" * 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which much lies that is called alike."""
    for name, content in {
        f"{ID}.img": IMAGE,
        f"{ID}.map": b"# map",
        f"{ID}-ddrescue.log": b"# log",
        f"{ID}.img.bak": b"of somebody",
        f"{ID}.map.bak": b"of somebody",
        f"{ID}0.img": b"of another medium",
        f"{ID}.raw": b"listing",
        f"{ID}.raw.json": b"{}",
        f"{ID}.raw.new": b"of somebody",
    }.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def names(folder: Path, form: Form, **more: object) -> list[bytes]:
    found = wanted_of(medium(form, folder, **more), listings=folder)
    assert all(one.path == folder / one.name.decode() for one in found)
    return [one.name for one in found]


@pytest.mark.parametrize("form", [Form.DEVICE, Form.IMAGE])
def test_an_image_is_archived_with_its_map_and_its_log(form: Form, folder: Path) -> None:
    image, chart = bytes(folder / f"{ID}.img"), bytes(folder / f"{ID}.map")
    log = f"{ID}-ddrescue.log".encode()
    assert names(folder, form, image=image, map=chart) == [b"%b.img" % ID.encode(), b"%b.map" % ID.encode(), log]
    assert names(folder, form, image=image) == [b"%b.img" % ID.encode(), log]
    (folder / f"{ID}-ddrescue.log").unlink()
    assert names(folder, form, image=image) == [b"%b.img" % ID.encode()]


@pytest.mark.parametrize("form", [Form.TREE, Form.LISTING])
def test_where_there_is_no_image_the_listing_is_archived_without_what_tells_of_one_attempt(
    form: Form, folder: Path
) -> None:
    assert names(folder, form) == [f"{ID}.raw".encode()]


def test_24_the_archive_of_an_image_is_the_same_whatever_the_image_is_called(folder: Path) -> None:
    (folder / "cd.iso").write_bytes(IMAGE)
    archives = folder / "archives"
    (folder / f"{ID}-ddrescue.log").unlink()
    made = archive_medium(
        medium(Form.IMAGE, folder, image=bytes(folder / f"{ID}.img")), listings=folder, archives=archives
    )
    assert (
        archive_medium(medium(Form.IMAGE, folder, image=bytes(folder / "cd.iso")), listings=folder, archives=archives)
        == made
    )


@pytest.mark.parametrize("form", [Form.TREE, Form.LISTING])
def test_the_archive_of_another_listing_is_set_aside_whole(form: Form, folder: Path) -> None:
    archives = folder / "archives"
    first = archive_medium(medium(form, folder), listings=folder, archives=archives)
    assert archive_medium(medium(form, folder), listings=folder, archives=archives) == first
    (folder / f"{ID}.raw").write_bytes(b"another listing")
    second = archive_medium(medium(form, folder), listings=folder, archives=archives)
    assert second != first
    aside = archive_path(ID, archives=archives).with_name(f"{ID}.tar.zst.{first.digest[:16]}")
    assert decode(aside) == first


@pytest.mark.parametrize(
    ("image", "log"),
    [
        (b"/img/a.img", b"/img/a-ddrescue.log"),
        (b"/img.d/a", b"/img.d/a-ddrescue.log"),
        (b"/img/a.b.iso", b"/img/a.b-ddrescue.log"),
        (b"/img/\xff.img", b"/img/\xff-ddrescue.log"),
    ],
)
def test_the_log_is_called_after_the_image(image: bytes, log: bytes) -> None:
    assert log_beside(image) == log


def test_an_archive_is_called_after_its_medium_and_its_counts_are_those_that_are_claimed(folder: Path) -> None:
    identified = medium(Form.IMAGE, folder, image=bytes(folder / f"{ID}.img"), digest=blake3(IMAGE).hexdigest())
    archives = folder / "archives"
    before = sorted(path.name for path in folder.iterdir())
    archive = archive_medium(identified, listings=folder, archives=archives)
    assert archive_path(ID, archives=archives) == archives / f"{ID}.tar.zst"
    assert [path.name for path in archives.iterdir()] == [f"{ID}.tar.zst"]
    counts = archive_counts(archive)
    assert tuple(counts) == ARCHIVE_COUNTS
    assert counts == {
        "members": 2,
        "bytes": len(IMAGE) + 5,
        "archive_bytes": (archives / f"{ID}.tar.zst").stat().st_size,
    }
    assert sorted(path.name for path in folder.iterdir() if path != archives) == before, "what was archived stays"
    assert archive_medium(identified, listings=folder, archives=archives) == archive


def test_another_image_than_was_identified_is_not_archived(folder: Path) -> None:
    identified = medium(Form.IMAGE, folder, image=bytes(folder / f"{ID}.img"), digest=blake3(b"it").hexdigest())
    with pytest.raises(StorageError, match="as when it was identified"):
        archive_medium(identified, listings=folder, archives=folder / "archives")
    assert list((folder / "archives").iterdir()) == []


@pytest.mark.parametrize("name", [f"{ID}.img", f"{ID}.map"])
def test_what_was_identified_has_to_be_there(name: str, folder: Path) -> None:
    identified = medium(
        Form.IMAGE, folder, image=bytes(folder / f"{ID}.img"), map=bytes(folder / f"{ID}.map"), digest=""
    )
    (folder / name).unlink()
    with pytest.raises(StorageError, match=f"can't read .*{name}: No such file"):
        archive_medium(identified, listings=folder, archives=folder / "archives")
