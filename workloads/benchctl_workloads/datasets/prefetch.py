"""A thread that makes elements ahead of their consumer, at most so many."""

from __future__ import annotations

from collections import deque
from contextlib import closing
from threading import Condition, Thread, current_thread

from .elements import Element, Stream

THREAD_NAME = "benchctl-prefetch"


def prefetched(upstream: Stream, size: int) -> Stream:
    """The same elements, up to `size` of them made ahead by a thread.

    The thread begins with the first element that is asked for and has ended when this is closed
    or exhausted; what it was making then is finished first. An error comes after the elements
    before it, as the thread raised it.
    """
    ahead = _Ahead(upstream, size)
    thread = Thread(target=ahead.make, name=THREAD_NAME, daemon=True)
    thread.start()
    try:
        while True:
            element = ahead.take()
            if element is None:
                return
            yield element
            # Not held while waiting for the next, so that its memory can serve again.
            del element
    finally:
        ahead.stop()
        # An abandoned iteration may be collected by any thread, its own included.
        if thread is not current_thread():
            thread.join()


class _Ahead:
    """What the thread and its consumer share: elements that are ready, and how it ended."""

    def __init__(self, upstream: Stream, size: int) -> None:
        self._upstream = upstream
        self._size = size
        self._ready: deque[Element] = deque()
        self._changed = Condition()
        self._stopped = False
        self._ended = False
        self._error: BaseException | None = None

    # The thread's side -----------------------------------------------------------------------

    def make(self) -> None:
        """Make elements until there are no more, or nobody wants them."""
        try:
            with closing(self._upstream):
                while self._wait_for_room():
                    element = next(self._upstream, None)
                    if element is None:
                        break
                    with self._changed:
                        self._ready.append(element)
                        self._changed.notify_all()
                    del element
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        """Wait until one more may be made; False where the consumer has stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._ready) < self._size)
            return not self._stopped

    # The consumer's side ---------------------------------------------------------------------

    def take(self) -> Element | None:
        """The next element, None at the end; raises what ended the thread."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._ended)
            if self._ready:
                element = self._ready.popleft()
                self._changed.notify_all()
                return element
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return None

    def stop(self) -> None:
        """Tell the thread that nothing more is wanted."""
        with self._changed:
            self._stopped = True
            self._ready.clear()
            self._changed.notify_all()
