"""Memory and disk that are there, and what is asked for, before anything of it is taken."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import InputError

__all__ = ["TooLargeError", "available", "check_disk", "check_memory"]

logger = logging.getLogger(__name__)

NEAR = 0.7  # of what is there, above which there is a warning
CONTROL_GROUPS = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self")
MACHINE = Path("/proc/meminfo")


class TooLargeError(InputError):
    """What is asked for needs more memory or disk than there is."""


def available() -> float | None:
    """Bytes that this process may still take: of the machine, its control groups and its limits.

    None where nothing is known.
    """
    found = [*_of_machine(), *_of_groups(), *_of_limit()]
    return max(0.0, min(found)) if found else None


def check_memory(needs: Mapping[str, float], advice: str) -> None:
    """Refuse what cannot be held, and warn of what comes near to it.

    Parameters
    ----------
    needs : mapping
        What it is for → bytes.
    advice : str
        What to change.

    Raises
    ------
    TooLargeError
        If the sum is more than what is there.
    """
    _compare(available(), "memory", needs, advice)


def check_disk(folder: Path, needs: Mapping[str, float], advice: str) -> None:
    """The same for the disk that a folder is on."""
    try:
        there = float(shutil.disk_usage(folder).free)
    except OSError:
        return
    _compare(there, "disk", needs, advice)


def _compare(there: float | None, kind: str, needs: Mapping[str, float], advice: str) -> None:
    total = sum(needs.values())
    if there is None or total <= NEAR * there:
        return
    parts = sorted(needs.items(), key=lambda part: -part[1])
    shown = ", ".join(f"{_size(size)} for {name}" for name, size in parts if size > 0.01 * total)
    text = f"some {_size(total)} of {kind} are needed ({shown}), and {_size(there)} are there"
    if total > there:
        raise TooLargeError(f"{text}; {advice}")
    logger.warning("%s, which is near; %s", text, advice)


def _size(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e6:.3g} MB"


def _of_machine() -> Iterator[float]:
    try:
        lines = dict(line.split(":") for line in MACHINE.read_text().splitlines())
        names = ("MemAvailable", "SwapFree")
        yield sum(1024.0 * float(lines[name].split()[0]) for name in names)
        return
    except (OSError, LookupError, ValueError):
        pass
    try:
        yield float(os.sysconf("SC_AVPHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return


def _of_groups() -> Iterator[float]:
    """What the control groups of this process, and those around them, leave."""
    try:
        lines = (PROCESS / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        kinds, _, inner = rest.partition(":")
        if not kinds:
            top, names = CONTROL_GROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            top = CONTROL_GROUPS / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        place = top / inner.strip("/")
        # A container may see its own group as the top one, whatever its path says.
        for folder in {place, *place.parents, top}:
            if folder == top or top in folder.parents:
                yield from _left_in(folder, *names)


def _left_in(folder: Path, limit: str, used: str, cached: str) -> Iterator[float]:
    try:
        most, taken = (float((folder / name).read_text()) for name in (limit, used))
    except (OSError, ValueError):  # no such group, or no limit: "max"
        return
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
        taken -= float(dict(line.split() for line in lines)[cached])
    except (OSError, LookupError, ValueError):
        pass
    yield most - taken


def _of_limit() -> Iterator[float]:
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = float((PROCESS / "statm").read_text().split()[0])
            yield limit - pages * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError):
        return
