"""The state of an aggregate on disk: one RocksDB for all partitions of a table, with bounded memory.

Faust recovers it from the changelog; `persisted_offset` tells from where. Values and the changelog offset that they
stand for are written in one atomic batch, so after a crash at any moment the store is a prefix of the changelog.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
from faust.stores.base import SerializedStore
from faust.types import TP, EventT
from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch, WriteOptions

from tallystick.errors import ServiceError

SLOTS = 64
"""How many workers may share one state folder; each takes a slot of its own."""


class Written(msgspec.Struct, frozen=True):
    """A state that Kafka has acknowledged: the changelog holds it at `offset` of `partition`."""

    key: bytes
    value: bytes
    partition: int
    offset: int


class _Revision(msgspec.Struct):
    revision: int = 0


_decode_revision = msgspec.json.Decoder(_Revision).decode


def open_slot(folder: Path, *, cache_bytes: int) -> Rdict:
    """Open the first state database under `folder` that no other process holds.

    RocksDB's own lock decides, so a slot is free again the moment its process is dead.
    Raises ServiceError where every slot is taken or the folder can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    problem = ""
    for slot in range(SLOTS):
        try:
            database = Rdict(str(folder / f"slot-{slot}"), options=_options(cache_bytes))
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            problem = str(error)
            if "lock" not in problem.lower():
                break
        else:
            database.set_write_options(_without_log())
            return database
    raise ServiceError(
        f"no state database can be opened under {folder}: {problem}; check its permissions and the disk's space"
    )


class CheckpointStore(SerializedStore[bytes, bytes]):
    """A Faust store over one RocksDB. Keys are kept by partition; all tables of a worker share `database`."""

    def __init__(self, *args: Any, database: Rdict, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._database = database
        self._changelog = str(self.table.changelog_topic.get_topic_name())
        self._prefix = self._changelog.encode() + b"\0"

    def read(self, partition: int, key: bytes) -> bytes | None:
        """Return the newest state of `key`, or None."""
        value: bytes | None = self._database.get(self._data(partition) + key)
        return value

    def commit(self, written: Iterable[Written]) -> None:
        """Take states that are in the changelog, together with how far the store now is."""
        batch = WriteBatch(raw_mode=True)
        ends: dict[int, int] = {}
        for state in written:
            batch.put(self._data(state.partition) + state.key, state.value)
            ends[state.partition] = max(ends.get(state.partition, -1), state.offset)
        for partition, offset in ends.items():
            if offset > (self._offset(partition) or -1):
                batch.put(self._place(partition), b"%d" % offset)
        self._database.write(batch)

    def states(self, partitions: Iterable[int]) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and state of everything in `partitions`."""
        for partition in partitions:
            prefix = self._data(partition)
            for key, value in cast(Iterator[tuple[bytes, bytes]], self._database.items(from_key=prefix)):
                if not key.startswith(prefix):
                    break
                yield key[len(prefix) :], value

    def persisted_offset(self, tp: TP) -> int | None:
        """Return the changelog offset that the store stands for, as Faust's recovery wants it."""
        return self._offset(tp.partition)

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        """Record how far the store is, where Faust says so."""
        self._database.put(self._place(tp.partition), b"%d" % offset)

    def apply_changelog_batch(
        self,
        batch: Iterable[EventT[bytes]],
        to_key: Callable[[Any], Any],  # noqa: ARG002
        to_value: Callable[[Any], Any],  # noqa: ARG002
    ) -> None:
        """Take states from the changelog during recovery; the higher revision of a key wins.

        A worker that lost its partitions while it was writing may have put an older state after a newer one.
        """
        newest: dict[tuple[int, bytes], Written] = {}
        ends: dict[int, int] = {}
        for event in batch:
            message = event.message
            if message.topic != self._changelog or message.key is None or message.value is None:
                continue
            partition, key, value = message.partition, bytes(message.key), bytes(message.value)
            ends[partition] = max(ends.get(partition, -1), message.offset)
            known = newest.get((partition, key))
            before = known.value if known else self.read(partition, key)
            if before is None or _decode_revision(before).revision <= _decode_revision(value).revision:
                newest[partition, key] = Written(key, value, partition, message.offset)
        self.commit(newest.values())
        for partition, offset in ends.items():
            self.set_persisted_offset(TP(self._changelog, partition), offset)

    def reset_state(self) -> None:
        """Forget everything, so that the next recovery reads the whole changelog."""
        self._database.delete_range(self._prefix, self._prefix + b"\xff" * 8)

    async def backup_partition(self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        """Not offered: the changelog is the backup."""
        raise NotImplementedError("the changelog topic is the backup of a state database")

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """Not offered: recovery reads the changelog."""
        raise NotImplementedError("the changelog topic is the backup of a state database")

    def _data(self, partition: int) -> bytes:
        return self._prefix + b"d" + partition.to_bytes(4, "big")

    def _place(self, partition: int) -> bytes:
        return self._prefix + b"o" + partition.to_bytes(4, "big")

    def _offset(self, partition: int) -> int | None:
        stored = self._database.get(self._place(partition))
        return None if stored is None else int(stored)

    def _get(self, key: bytes) -> bytes | None:
        raise NotImplementedError("states are read by partition: use `read`")

    _set = _del = _contains = _get  # type: ignore[assignment]

    def _iterkeys(self) -> Iterator[bytes]:
        raise NotImplementedError("states are read by partition: use `states`")

    _itervalues = _iteritems = _size = _clear = _iterkeys  # type: ignore[assignment]


def _without_log() -> WriteOptions:
    # The changelog is the log: after a crash the store is an older prefix of it, and recovery goes on from there.
    options = WriteOptions()
    options.disable_wal = True  # type: ignore[assignment,method-assign]  # its stub calls it a method
    return options


def _options(cache_bytes: int) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(cache_bytes))
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_bloom_filter(10, False)
    options.set_block_based_table_factory(blocks)
    # What is new is soon rewritten: only what has settled is worth compressing.
    options.set_compression_per_level([DBCompressionType.none()] * 2 + [DBCompressionType.lz4()] * 5)
    options.set_write_buffer_size(16 * 1024 * 1024)
    options.set_max_write_buffer_number(2)
    options.set_max_open_files(256)
    return options
