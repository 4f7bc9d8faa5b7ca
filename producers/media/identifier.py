"""The identifier: targets become media, each with an attempt that begins and a claim on its first stage."""

import os
from collections.abc import Callable, Iterable

import msgspec

from producers.claims import Attempt
from producers.media.identifying import Identity, digest_of, look_at
from producers.media.imaging import image_path, map_path
from producers.progress import FileOutcome, Progress, Throttle
from tallystick.contracts import media as contract
from tallystick.contracts import timestamps
from tallystick.contracts.text import printable
from tallystick.errors import ContractError
from tallystick.kafka.consuming import read_whole
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)
_TELL_SECONDS = 0.5
_SAME = {contract.Form.DEVICE, contract.Form.IMAGE}
"""A device's image is the same medium."""


class Wish(msgspec.Struct, frozen=True):
    """What is asked for: the targets, and what is the same for all of them (see `Medium`).

    `until` names the last stage, empty for all of them.
    """

    targets: tuple[str, ...]
    message: str = ""
    until: str = ""
    acknowledged: str = ""
    grows: bool = False


def identify(
    settings: Settings, wish: Wish, *, stop: Callable[[], bool], on_progress: Callable[[Progress], None]
) -> list[FileOutcome]:
    """Identify every target, and return how each of them ended; one that can't be leaves the others alone.

    Raises ServiceError where Kafka can't be used, UsageError where a target isn't there.
    """
    publisher = Publisher(settings, client_id="identifier")
    known = read_media(settings)
    outcomes = []
    for target in wish.targets:
        if stop():
            outcomes.append(FileOutcome(target, "", 0, "interrupted", {}))
            continue
        outcomes.append(_identify(settings, publisher, known, wish, look_at(target), on_progress))
    publisher.flush()
    return outcomes


def read_media(settings: Settings) -> dict[str, contract.Medium]:
    """Return every medium that the log knows, as it was identified last, by its id.

    Raises ServiceError where Kafka doesn't deliver them, ContractError where the topic holds something else.
    """
    topic = settings.kafka.topic(contract.MEDIA)
    media: dict[str, contract.Medium] = {}
    for record in read_whole(settings, topic, client_id="media"):
        key, value = (record.key() or b"").decode("utf-8", "replace"), record.value()
        if value is None:
            media.pop(key, None)
            continue
        try:
            media[key] = contract.decode_medium(value)
        except msgspec.MsgspecError as error:
            raise ContractError(
                f"{topic} partition {record.partition()} offset {record.offset()} is no medium: {error}; "
                "send a record without a value under its key to forget it"
            ) from error
    return media


def _identify(
    settings: Settings,
    publisher: Publisher,
    known: dict[str, contract.Medium],
    wish: Wish,
    found: Identity,
    on_progress: Callable[[Progress], None],
) -> FileOutcome:
    before = known.get(found.medium)
    attempt = before.attempt + 1 if before else 1
    name = printable(found.name)
    throttle = Throttle(_TELL_SECONDS)

    def tell(done: int) -> None:
        if throttle.due() or done == found.size:
            on_progress(_progress(name, found, attempt, done))

    content = found.image or (found.root if found.form is contract.Form.LISTING else b"")
    try:
        digest = digest_of(content, on_block=tell) if content else ""
    except OSError as error:
        return _refused(name, found, f"can't be read to its end: {error.strerror}")
    if before is not None and (conflict := _conflict(before, found, digest)):
        return _refused(name, found, conflict)
    medium = _medium(settings, wish, found, digest=digest, before=before)
    publisher.send(settings.kafka.topic(contract.MEDIA), key=medium.medium.encode(), value=contract.encode(medium))
    claim = Attempt(
        settings,
        publisher,
        source=medium.medium,
        kind=medium.form.kind,
        name=medium.name,
        stage=contract.IDENTIFIED,
        number=medium.attempt,
        until=_until(medium.form, wish.until),
    )
    claim.start()
    claim.claim(counts={"bytes": found.size}, ends={}, digest=digest)
    publisher.flush()
    known[medium.medium] = medium
    tell(found.size)
    return FileOutcome(name, medium.medium, attempt, "claimed", {"bytes": found.size}, claimed=True)


def _medium(
    settings: Settings, wish: Wish, found: Identity, *, digest: str, before: contract.Medium | None
) -> contract.Medium:
    """Return the medium of a new attempt; what is not said of it now stays as it was said `before`."""
    image, rescue_map = found.image, found.map
    if found.form is contract.Form.DEVICE:
        image = os.fsencode(image_path(found.medium, images=settings.media_images))
        rescue_map = os.fsencode(map_path(found.medium, images=settings.media_images))
    return contract.Medium(
        medium=found.medium,
        form=found.form,
        attempt=before.attempt + 1 if before else 1,
        name=printable(found.name),
        root=found.root,
        at=timestamps.now(),
        image=image,
        map=rescue_map,
        size=found.size,
        digest=digest,
        model=found.model,
        serial=found.serial,
        message=wish.message or (before.message if before else ""),
        acknowledged=wish.acknowledged or (before.acknowledged if before else ""),
        grows=wish.grows,
    )


def _until(form: contract.Form, wished: str) -> str:
    """Return the last stage for a medium of this form: an image that is to be taken until `imaged` is there already."""
    return contract.IDENTIFIED if wished == contract.IMAGED and form is not contract.Form.DEVICE else wished


def _conflict(before: contract.Medium, found: Identity, digest: str) -> str:
    """Return why `found` is not the medium that its id names, empty where it is."""
    if before.form is not found.form and {before.form, found.form} != _SAME:
        return f"identity_conflict: medium {found.medium} is known as {before.form}, this is {found.form}"
    if before.digest and digest and before.digest != digest:
        return (
            f"identity_conflict: medium {found.medium} is known with the content {before.digest[:16]}…, this one is"
            f" {digest[:16]}…: they begin and end alike. Call the file {digest[:32]}.img, and it is a medium of"
            " its own"
        )
    return ""


def _refused(name: str, found: Identity, reason: str) -> FileOutcome:
    log.error("a target is refused", target=name, medium=found.medium, reason=reason)
    return FileOutcome(name, "", 0, "failed", {}, reason)


def _progress(name: str, found: Identity, attempt: int, done: int) -> Progress:
    return Progress(name, found.medium, attempt, done, done, found.size, 0, 0, 0, "reading")


def ids_of(targets: Iterable[str]) -> dict[str, str]:
    """Return the medium of each target. Raises UsageError as `look_at` does."""
    return {target: look_at(target).medium for target in targets}
