"""Work in order per account: at once where nothing has to be waited for, else one behind the other, others going on."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lanes(Generic[T]):
    """A lane for each account that something is waited for. It belongs to one event loop.

    `attempt` does a piece of work, or returns False where something has to be waited for first; `finish` then waits,
    and does it. Neither is called for an account while an earlier piece of it is still under way.
    """

    def __init__(self, attempt: Callable[[T], bool], finish: Callable[[T], Awaitable[None]]) -> None:
        self._attempt, self._finish = attempt, finish
        self._lanes: dict[str, deque[T]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    def take(self, did: str, work: T) -> None:
        """Do a piece of work of an account, or let it wait for its turn."""
        if (lane := self._lanes.get(did)) is not None:
            lane.append(work)
        elif not self._attempt(work):
            self._lanes[did] = deque((work,))
            task = asyncio.create_task(self._drive(did), name=f"lane {did[:80]}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def check(self) -> None:
        """Raise what has gone wrong in a lane: nothing that is expected."""
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """Give up what waits."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drive(self, did: str) -> None:
        lane = self._lanes[did]
        await self._finish(lane[0])
        lane.popleft()
        while lane:
            if not self._attempt(lane[0]):
                await self._finish(lane[0])
            else:
                await asyncio.sleep(0)  # others get their turn, however much has piled up here
            lane.popleft()
        del self._lanes[did]

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error
