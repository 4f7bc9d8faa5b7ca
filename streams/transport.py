"""Faust's Kafka transport without four tasks and two queues a record.

Faust delivers each record by `wait_first(delivery, flow suspended)`, which makes a task of either and of two more
events, although the delivery nearly always ends at its first step: it puts the record into a queue with room. Here that
first step is taken at once, and only a delivery that has to wait is raced against the events, as in Faust.

A delivery goes from Faust's conductor into the queue of a channel, and from there through a stream. What is worked
through in checkpoints needs none of them: the conductor gives its records straight to a `Taker`.
"""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from faust.transport import conductor
from faust.transport.drivers import aiokafka
from faust.types import Message
from faust.types.transports import ConsumerCallback
from mode.services import WaitResults

Taker = Callable[[Message], Awaitable[None]]
"""Takes a record of its topic, to acknowledge it later. While it waits for room, nothing is delivered; a rebalance ends
the wait, and the record will come again."""


class Conductor(conductor.Conductor):
    """Faust's conductor, which gives the records of some topics to their takers."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.takers: dict[str, Taker] = {}
        super().__init__(*args, **options)

    def _compile_message_handler(self) -> ConsumerCallback:
        deliver = super()._compile_message_handler()
        takers, flow = self.takers, self.app.flow_control

        async def on_message(message: Message) -> None:
            take = takers.get(message.topic)
            if take is None:
                await deliver(message)
            else:
                await flow.acquire()
                await take(message)

        return on_message


class Consumer(aiokafka.Consumer):
    """Faust's consumer, whose `wait_first` begins with the first coroutine itself."""

    async def wait_first(self, *coros: Any, timeout: Any = None) -> WaitResults:  # noqa: ASYNC109 - as in Faust
        """Wait for the first of `coros`; see `mode.Service.wait_first`. The first one is begun before the others."""
        first, *others = coros
        if not isinstance(first, Coroutine):
            return await super().wait_first(*coros, timeout=timeout)
        try:
            awaited = first.send(None)
        except StopIteration as done:
            for other in others:
                if isinstance(other, Coroutine):
                    other.close()
            return WaitResults([first], [done.value], stopped=False)
        return await super().wait_first(_Begun(first, awaited), *others, timeout=timeout)


class _Begun:
    """A coroutine that has taken its first step and now waits for `awaited`."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], awaited: Any) -> None:
        self._coroutine, self._awaited = coroutine, awaited

    def __await__(self) -> Generator[Any, Any, Any]:
        awaited = self._awaited
        try:
            while True:
                try:
                    sent = yield awaited
                except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the coroutine
                    awaited = self._coroutine.throw(error)
                else:
                    awaited = self._coroutine.send(sent)
        except StopIteration as done:
            return done.value


class Transport(aiokafka.Transport):
    """Faust's transport with our consumer and our conductor."""

    Consumer = Consumer
    Conductor = Conductor
