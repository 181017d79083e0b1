"""Signals as a request that work in progress looks at, and where its inner loops look."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

__all__ = [
    "Asked",
    "EndedBySignal",
    "Unfinished",
    "asked_to_stop",
    "exit_code",
    "listen",
    "listening",
    "raised_by_signals",
]

Handler = Callable[[int, FrameType | None], object] | int | None

logger = logging.getLogger(__name__)

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
GRACE = 0.5  # s: work that takes less is not looked into
PAUSE = 0.25  # s between two looks

_outer: Asked | None = None  # of the context that the main thread is in
_listener: ContextVar[_Listener | None] = ContextVar("listener", default=None)


class Asked(threading.Event):
    """Set when a signal has asked for an end; `name` is that of the signal."""

    name = ""


class EndedBySignal(KeyboardInterrupt):
    """Work was ended by a signal, as Ctrl-C does it, and left nothing to be returned.

    Parameters
    ----------
    name : str
        Of the signal, such as "SIGTERM".
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"ended by {name}")
        self.name = name


def exit_code(name: str) -> int:
    """What a process ended by this signal answers to its shell.

    Examples
    --------
    >>> exit_code("SIGTERM")
    143
    """
    return 128 + int(signal.Signals[name])


class Unfinished(BaseException):
    """Work was left where it stood, for the reason that it carries; no handler of errors ends it.

    Parameters
    ----------
    reason : object
        What the one who listened gave.
    """

    def __init__(self, reason: object) -> None:
        super().__init__(reason)
        self.reason = reason


class _Listener:
    def __init__(self, heard: Callable[[float | None], object]) -> None:
        self.heard = heard
        self.next = time.monotonic() + GRACE


@contextmanager
def listening(heard: Callable[[float | None], object]) -> Iterator[None]:
    """Loops that call `listen` in here call ``heard(t)`` four times a second once they take long.

    What it returns, unless it is None, ends them by `Unfinished`.
    """
    token = _listener.set(_Listener(heard))
    try:
        yield
    finally:
        _listener.reset(token)


def listen(t: float | None = None) -> None:
    """Look up from a loop that may take long, at its time t if it has one.

    Raises
    ------
    Unfinished
        If the one who listens wants it.
    """
    listener = _listener.get()
    if listener is None or time.monotonic() < listener.next:
        return
    reason = listener.heard(t)
    if reason is not None:
        raise Unfinished(reason)
    listener.next = time.monotonic() + PAUSE


@contextmanager
def asked_to_stop() -> Iterator[Asked]:
    """Set by a first Ctrl-C, SIGTERM or SIGHUP, after which the step is finished or left.

    A second Ctrl-C ends at once. A signal that is ignored stays so, and handlers that others set
    for SIGTERM and SIGHUP stay in place. A context within another shares its event, so that work
    of many parts hears of a signal whichever part it came in. No exception is raised then, which a
    destructor might swallow.
    """
    global _outer
    if threading.current_thread() is not threading.main_thread():
        yield Asked()
        return
    if _outer is not None:
        yield _outer
        return
    asked = _outer = Asked()
    before: dict[int, Handler] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set() and number == signal.SIGINT:
            signal.signal(number, before[number])
            raise KeyboardInterrupt
        asked.name = asked.name or signal.Signals(number).name
        asked.set()
        more = "; press Ctrl-C again to end at once" if number == signal.SIGINT else ""
        logger.warning("%s: ending after this step%s", signal.Signals(number).name, more)

    for name in SIGNALS:
        number = getattr(signal, name, None)
        if number is None:
            continue
        found = signal.getsignal(number)
        if found == signal.SIG_DFL or (number == signal.SIGINT and found != signal.SIG_IGN):
            before[number] = found
            signal.signal(number, handle)
    try:
        yield asked
    finally:
        for number, found in before.items():
            signal.signal(number, found)
        _outer = None


@contextmanager
def raised_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `EndedBySignal` here, for work that other processes do.

    Signals that are ignored, or that others handle, stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        raise EndedBySignal(signal.Signals(number).name)

    numbers = [getattr(signal, name) for name in SIGNALS[1:] if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
