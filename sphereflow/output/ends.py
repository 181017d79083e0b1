"""How a run can end: the one list of what its attribute `status` may say."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["End", "is_good", "is_resumable"]


class End(StrEnum):
    """Why a run is where it is. A rule of a user may have a status of its own besides these."""

    PENDING = "pending"  # a member of a sweep that has not been run
    RUNNING = "running"  # or killed: its file grows no more
    COMPLETED = "completed"
    STOPPED = "stopped"  # by a rule of the user
    STEADY = "steady"
    CLUSTERED = "clustered"
    WALL_TIME = "wall-time"
    INTERRUPTED = "interrupted"  # by Ctrl-C
    TERMINATED = "terminated"  # by SIGTERM or SIGHUP
    UNDER_RESOLVED = "under-resolved"
    NOT_FINITE = "not-finite"
    FAILED = "failed"

    @property
    def good(self) -> bool:
        """Whether the run ended as it was meant to."""
        return self in _GOOD

    @property
    def resumable(self) -> bool:
        """Whether the state is kept, so that ``resume=True`` goes on from it."""
        return self in _RESUMABLE

    @property
    def remedy(self) -> str:
        """What to do about it; empty where nothing needs to be done."""
        return _REMEDIES.get(self, "")


_GOOD = {End.COMPLETED, End.STOPPED, End.STEADY, End.CLUSTERED, End.WALL_TIME}
_RESUMABLE = {End.WALL_TIME, End.INTERRUPTED, End.TERMINATED}
_GO_ON = "go on with resume=True, or --resume"
_REMEDIES = {
    End.PENDING: "run the sweep again",
    End.RUNNING: "resume it from its checkpoint, or run it again",
    End.WALL_TIME: _GO_ON,
    End.INTERRUPTED: _GO_ON,
    End.TERMINATED: _GO_ON,
    End.UNDER_RESOLVED: "raise the resolution, add diffusion, or use scheme='auto'",
    End.NOT_FINITE: "look at the last saved times; lower the step or raise the resolution",
    End.FAILED: "mend what the reason names",
}


def _known(status: str) -> End:
    """The end of this name; one that a rule of the user gave is a stop by it."""
    try:
        return End(status)
    except ValueError:
        return End.STOPPED


def is_good(status: str) -> bool:
    """Whether a run of this status ended as it was meant to."""
    return _known(status).good


def is_resumable(status: str) -> bool:
    """Whether a run of this status can be resumed."""
    return _known(status).resumable
