"""Removing an image: only what its archive holds, and never by a pattern."""

from pathlib import Path

import pytest

from producers.media.archiving import archive_medium, archive_path
from producers.media.discarding import UnarchivedError, discardable, remove
from tallystick.contracts.media import Form, Medium
from tallystick.errors import DamagedArchiveError, StorageError

ID = "0af9" * 8


@pytest.fixture
def archived(tmp_path: Path) -> Medium:
    """A medium whose image and map are archived, with files beside them whose names begin alike."""
    image = tmp_path / f"{ID}.img"
    image.write_bytes(b"image" * 5_000)
    image.with_suffix(".map").write_bytes(b"map")
    (tmp_path / f"{ID}.img.notes").write_bytes(b"of somebody else")
    (tmp_path / f"{ID}-2.img").write_bytes(b"another medium")
    medium = Medium(
        ID, Form.IMAGE, 1, "disk", bytes(image), "", image=bytes(image), map=bytes(image.with_suffix(".map"))
    )
    archive_medium(medium, listings=tmp_path, archives=tmp_path / "archives")
    return medium


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def discard(medium: Medium, folder: Path) -> None:
    remove(discardable(medium, listings=folder, archives=folder / "archives"))


def test_32_exactly_the_files_that_are_in_the_archive_are_removed(archived: Medium, tmp_path: Path) -> None:
    discard(archived, tmp_path)
    assert names(tmp_path) == {f"{ID}.img.notes", f"{ID}-2.img"}


def test_what_was_removed_is_still_in_the_archive_and_removing_it_again_is_nothing(
    archived: Medium, tmp_path: Path
) -> None:
    discard(archived, tmp_path)
    assert discardable(archived, listings=tmp_path, archives=tmp_path / "archives") == []


@pytest.mark.parametrize("name", [f"{ID}.img", f"{ID}.map"])
def test_nothing_is_removed_where_one_file_is_not_what_was_archived(
    archived: Medium, tmp_path: Path, name: str
) -> None:
    before = names(tmp_path)
    (tmp_path / name).write_bytes(b"changed since")
    with pytest.raises(UnarchivedError, match="nothing is removed"):
        discard(archived, tmp_path)
    assert names(tmp_path) == before


def test_31_nothing_is_removed_where_a_bit_of_the_archive_is_another(archived: Medium, tmp_path: Path) -> None:
    archive = archive_path(ID, archives=tmp_path / "archives")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    before = names(tmp_path)
    with pytest.raises(DamagedArchiveError):
        discard(archived, tmp_path)
    assert names(tmp_path) == before


def test_nothing_is_removed_where_there_is_no_archive(archived: Medium, tmp_path: Path) -> None:
    archive_path(ID, archives=tmp_path / "archives").unlink()
    with pytest.raises(StorageError, match="No such file"):
        discard(archived, tmp_path)


@pytest.mark.parametrize("form", [Form.TREE, Form.LISTING])
def test_of_a_folder_and_a_listing_nothing_is_ever_removed(form: Form, tmp_path: Path) -> None:
    medium = Medium(ID, form, 1, "tree", bytes(tmp_path), "")
    with pytest.raises(UnarchivedError, match="has no image"):
        discardable(medium, listings=tmp_path, archives=tmp_path)
