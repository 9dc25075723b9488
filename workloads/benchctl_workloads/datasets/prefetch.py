"""A thread that makes elements ahead of their consumer, at most so many."""

from __future__ import annotations

import atexit
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
    # A thread that still ran when the interpreter is taken apart could not be waited for any more.
    atexit.register(ahead.close)
    try:
        while True:
            element = ahead.take()
            if element is None:
                return
            yield element
            # Not held while waiting for the next, so that its memory can serve again.
            del element
    finally:
        ahead.close()
        atexit.unregister(ahead.close)


class _Ahead:
    """A thread that draws from a stream, and the elements that are ready.

    The thread refers to this object alone, so that it keeps no consumer alive.
    """

    def __init__(self, upstream: Stream, size: int) -> None:
        self._upstream = upstream
        self._size = size
        self._ready: deque[Element] = deque()
        self._changed = Condition()
        self._closed = False
        self._ended = False
        self._error: BaseException | None = None
        # Daemon: a program that ends by an error is not kept waiting for its consumer to close.
        self._thread = Thread(target=self._make, name=THREAD_NAME, daemon=True)
        self._thread.start()

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

    def close(self) -> None:
        """End the thread and wait for its end."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()
        # An abandoned iteration may be collected by any thread, its own included.
        if self._thread is not current_thread():
            self._thread.join()

    # In the thread ---------------------------------------------------------------------------

    def _make(self) -> None:
        """Make elements until there are no more, or nobody wants them."""
        try:
            with closing(self._upstream):
                while self._wait_for_room():
                    element = next(self._upstream, None)
                    if element is None:
                        break
                    self._put(element)
                    del element
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        """Wait until one more may be made; False where the consumer has closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._ready) < self._size)
            return not self._closed

    def _put(self, element: Element) -> None:
        with self._changed:
            self._ready.append(element)
            self._changed.notify_all()
