"""Ctrl-C as a request that work in progress looks at between its steps."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["asked_to_stop"]

logger = logging.getLogger(__name__)

_outer: threading.Event | None = None  # of the context that the main thread is in


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """Set by a first Ctrl-C, after which the step is finished; a second one ends at once.

    A context within another shares its event, so that work of many parts hears of a Ctrl-C
    whichever part it came in. No exception is raised then, which a destructor might swallow.
    """
    global _outer
    if threading.current_thread() is not threading.main_thread():
        yield threading.Event()
        return
    if _outer is not None:
        yield _outer
        return
    asked = _outer = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: Any) -> None:
        if asked.is_set() or not callable(before):
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt
        asked.set()
        logger.warning("ending after this step; press Ctrl-C again to end at once")

    signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
        _outer = None
