"""Where the contents of a medium come from, opened."""

from collections.abc import Iterator
from contextlib import contextmanager

from producers.media.contents import Contents, ImageContents, TreeContents
from producers.media.images import Image
from tallystick.contracts.media import Form, Medium


@contextmanager
def open_contents(medium: Medium) -> Iterator[Contents]:
    """Give the contents of a medium; paths of a listing lie below `/`. Raises as `Image` does, which images are."""
    if medium.form in (Form.DEVICE, Form.IMAGE):
        with Image(medium.image) as image:
            yield ImageContents(image.content)
    else:
        yield TreeContents(medium.root if medium.form is Form.TREE else b"/")
