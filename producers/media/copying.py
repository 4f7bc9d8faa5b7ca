"""Copying: the content of each inode goes into the store, once, or it is said why not, in order."""

import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain, islice

from producers.media.contents import ChangedError, Contents, Work
from producers.media.errors import MediaError, PreconditionError
from tallystick.contracts import timestamps
from tallystick.contracts.media import Copied, CopyError, CopyStatus
from tallystick.contracts.text import printable
from tallystick.storage.disk import Progress, unheard
from tallystick.storage.store import Store, WrongSizeError

PROBED = 20
"""Where this many files in a row, from the first one on, are not there at all, the root is taken for a wrong one."""
DETAIL_CHARACTERS = 500
_AHEAD = 64
"""How many files a thread the pool may be ahead of the one that takes longest."""
_LOOK_SECONDS = 0.5

_ERRORS = {
    errno.ENOENT: CopyError.PATH,
    errno.ENOTDIR: CopyError.PATH,
    errno.ELOOP: CopyError.PATH,
    errno.EXDEV: CopyError.PATH,
    errno.ENAMETOOLONG: CopyError.PATH,
    errno.EIO: CopyError.IO,
    errno.EACCES: CopyError.PERMISSION,
    errno.EPERM: CopyError.PERMISSION,
}
_OF_PATHS = frozenset({CopyError.PATH, CopyError.PERMISSION, CopyError.CHANGED})
"""Errors that another path to the same inode may not have."""
_ONCE = frozenset({CopyError.PATH, CopyError.PERMISSION})
"""Errors that another look does not mend."""
_PERMANENT = frozenset({CopyError.PATH, CopyError.PERMISSION, CopyError.IO})
"""Errors that copying again as it was enumerated will not mend."""


class WrongRootError(PreconditionError):
    """None of the first files is there: the medium lies elsewhere. The reason is `wrong_root`."""


class TooManyFailedError(MediaError):
    """So many files failed that the medium as a whole can't be read. The reason is `too_many_failed`."""


def copy_file(
    work: Work, contents: Contents, store: Store, *, run: int, tries: int, progress: Progress = unheard
) -> Copied:
    """Put the content of a file into the store and say what became of it; it is read at most `tries` times.

    A file is read by its first path, and by the next one where that does not lead to it. Raises StorageError,
    NoSpaceError among them: those are the store's, and no fault of the file.
    """
    paths, tried = deque(work.paths), 0
    while True:
        path, tried = paths[0], tried + 1
        try:
            published = store.publish(contents.blocks(work, path), size=work.size, progress=progress)
        except (OSError, ChangedError, WrongSizeError) as failure:
            error, detail = _classified(failure)
        else:
            return Copied(
                part=work.part,
                ino=work.ino,
                run=run,
                status=CopyStatus.SUCCESS,
                at=timestamps.now(),
                path=path,
                blobid=published.blobid,
                sha256=published.sha256,
                size=published.size,
                mtime=work.mtime,
                mtime_ns=work.mtime_ns,
                created=published.created,
                detail="the store had something else in its place, which was replaced" if published.healed else "",
                tries=tried,
            )
        elsewhere = error in _OF_PATHS and len(paths) > 1
        if elsewhere:
            paths.popleft()
        if tried == tries or (error in _ONCE and not elsewhere):
            return Copied(
                part=work.part,
                ino=work.ino,
                run=run,
                status=CopyStatus.PERMANENT if error in _PERMANENT else CopyStatus.RETRYABLE,
                at=timestamps.now(),
                path=path,
                error=error,
                detail=detail,
                tries=tried,
            )


def copy_all(
    work: Iterable[Work],
    contents: Contents,
    store: Store,
    *,
    run: int,
    tries: int,
    workers: int,
    total: int,
    max_failed_share: float,
    progress: Progress = unheard,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Copied]:
    """Copy files in so many threads, and yield what became of each, in the order of `work`.

    `total` is how many there are. `progress` is called in the caller's thread, about every half second in which
    something was read. Ends early once `stop` returns True: ask it again. Closing it waits for the threads, which end
    after the block that they are at.

    Raises WrongRootError, before it has yielded anything, where none of the first files is there; TooManyFailedError
    once more than `max_failed_share` of all have failed; what `copy_file`, `work`, `progress` raise.
    """
    motion = _Motion()

    def copy(item: Work) -> Copied:
        return copy_file(item, contents, store, run=run, tries=tries, progress=motion.advance)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="copy")
    try:
        results = _in_order(pool, copy, iter(work), ahead=workers * _AHEAD, motion=motion, progress=progress, stop=stop)
        first = list(islice(results, PROBED))
        if len(first) >= min(PROBED, total) > 0 and all(copied.error is CopyError.PATH for copied in first):
            raise WrongRootError(
                "wrong_root",
                f"none of the first {len(first)} files is where it was enumerated: "
                "bring the medium back to where it was, or ingest it from where it is now",
            )
        failed = 0
        for copied in chain(first, results):
            yield copied
            failed += copied.status is not CopyStatus.SUCCESS
            if failed > max_failed_share * total:
                raise TooManyFailedError(
                    "too_many_failed",
                    f"{failed} of {total} files could not be copied, the last one for: {copied.error} {copied.detail}; "
                    "see to the medium, then run the same again (media.max_failed_share sets how many may fail)",
                )
    finally:
        motion.end()
        pool.shutdown(cancel_futures=True)


class _EndedError(Exception):
    """What ends the threads where nobody wants their results any more."""


class _Motion:
    """Whether something moves in any thread, and the word that ends them all."""

    def __init__(self) -> None:
        self.blocks, self._ended = 0, False

    def advance(self) -> None:
        # Several threads may lose a count among them: it is only asked whether it has changed.
        self.blocks += 1
        if self._ended:
            raise _EndedError

    def end(self) -> None:
        self._ended = True


def _in_order(
    pool: ThreadPoolExecutor,
    copy: Callable[[Work], Copied],
    work: Iterator[Work],
    *,
    ahead: int,
    motion: _Motion,
    progress: Progress,
    stop: Callable[[], bool],
) -> Iterator[Copied]:
    """Yield results in the order of work, with no more than `ahead` of them under way or waiting."""
    pending: deque[Future[Copied]] = deque()
    seen = 0
    while not stop():
        pending.extend(pool.submit(copy, item) for item in islice(work, ahead - len(pending)))
        if not pending:
            return
        if not pending[0].done():
            wait([pending[0]], timeout=_LOOK_SECONDS)
        if motion.blocks != seen:
            seen = motion.blocks
            progress()
        if pending[0].done():
            yield pending.popleft().result()


def _classified(failure: OSError | ChangedError | WrongSizeError) -> tuple[CopyError, str]:
    """Return what kind of failure it is, and what to tell of it, without the path, which is told elsewhere."""
    if isinstance(failure, OSError):
        error = _ERRORS.get(failure.errno or 0, CopyError.UNKNOWN)
        detail = failure.strerror or str(failure)
    else:
        error, detail = CopyError.CHANGED, str(failure)
    return error, printable(detail)[:DETAIL_CHARACTERS]
