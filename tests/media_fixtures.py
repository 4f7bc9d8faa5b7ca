"""The images of `tests/fixtures/media`, unpacked, and the truth about each (`tests/fixtures/media/build.py`)."""

import lzma
from pathlib import Path

import msgspec

from tallystick.contracts.media import Form, Medium

FOLDER = Path(__file__).parent / "fixtures" / "media"


class Expected(msgspec.Struct, frozen=True):
    """One path that is on an image. What is None is not kept by its file system."""

    part: int
    type: str
    path: bytes
    size: int | None = None
    mtime: int | None = None
    nlink: int | None = None
    rdev: int | None = None
    target: bytes | None = None
    sha256: str = ""
    marks: tuple[str, ...] = ()


class Truth(msgspec.Struct, frozen=True):
    """What is on an image: `outcome` is `enumerated`, or the reason of the error."""

    outcome: str
    file_systems: list[tuple[int, str]]
    problems: dict[str, int]
    records: list[Expected]


def names() -> list[str]:
    """Return the names of all images."""
    return sorted(path.name.removesuffix(".xz") for path in FOLDER.glob("*.xz"))


def truth(name: str) -> Truth:
    """Return the truth about an image."""
    return msgspec.json.decode((FOLDER / f"{name}.truth.json").read_bytes(), type=Truth)


def unpack(name: str, folder: Path) -> Path:
    """Return an image, unpacked into `folder`."""
    path = folder / name
    if not path.exists():
        path.write_bytes(lzma.decompress((FOLDER / f"{name}.xz").read_bytes()))
    return path


def medium(form: Form, root: bytes | Path, **more: object) -> Medium:
    """Return a medium as it was identified."""
    fields = {"root": bytes(root), "medium": "0" * 32, "attempt": 1, "name": "test", "at": "2026-01-01T00:00:00Z"}
    return Medium(form=form, **(fields | more))  # type: ignore[arg-type]
