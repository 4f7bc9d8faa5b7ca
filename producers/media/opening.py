"""Where the contents of a medium come from, opened."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from producers.media.contents import Contents, ImageContents, TreeContents
from producers.media.images import Image
from producers.media.listing_walk import ListingWalk
from tallystick.contracts.media import Form, Medium


@contextmanager
def open_contents(medium: Medium) -> Iterator[Contents]:
    """Give the contents of a medium. Raises what `Image` does, which images are, and `ListingWalk` of listings."""
    match medium.form:
        case Form.TREE:
            yield TreeContents(medium.root)
        case Form.LISTING:
            with closing(ListingWalk(medium.root, beat=lambda: None)) as walk:
                root = walk.mount(0)
            yield TreeContents(root)
        case Form.DEVICE | Form.IMAGE:
            with Image(medium.image) as image:
                yield ImageContents(image.content)
