"""A host of many repositories, in its own process: `python -m tests.backfill_host REPOSITORIES`.

Each has 20 to 200 records. Prints its URL, at which it is the directory as well, and the number of records, once all
are made. Ends when its standard input does.
"""

import random
import sys
import time

from tests.atproto_hosts import World, hosts
from tests.atproto_world import Repository

FEWEST, MOST = 20, 200
COLLECTIONS = ("app.bsky.feed.like", "app.bsky.feed.post", "app.bsky.graph.follow")
_DAY_US = 24 * 3600 * 1_000_000


def fill(world: World, repositories: int) -> int:
    """Let so many accounts be known to a host; return how many records they have."""
    chance = random.Random(1)
    start_us = time.time_ns() // 1000 - _DAY_US
    records = 0
    for number in range(repositories):
        repository = Repository(f"b{number:06d}", start_us=start_us)
        paths = [f"{chance.choice(COLLECTIONS)}/3k{one:011d}" for one in range(chance.randint(FEWEST, MOST))]
        repository.commit({path: _record(path, chance) for path in paths})
        world.add(repository)
        records += len(paths)
    return records


def _record(path: str, chance: random.Random) -> dict[str, object]:
    return {
        "$type": path.partition("/")[0],
        "text": chance.randbytes(60).hex(),
        "createdAt": "2026-01-01T00:00:00Z",
    }


def main() -> None:
    """Serve until standard input ends."""
    with hosts() as world:
        records = fill(world, int(sys.argv[1]))
        print(world.url, records, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
