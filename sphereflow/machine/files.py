"""Files that are read and written whole: regular ones only, and never half of one.

A new file is made under a name of its own that cannot be guessed, exclusively, synced to the disk
and then renamed, so that neither a crash nor another process leaves a part of it.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..checks import path_of, shown
from ..errors import InputError, OutputError

__all__ = ["check_writable", "locked", "read_regular", "replaced"]

logger = logging.getLogger(__name__)

LONGEST = 180  # characters of a name that go into those beside it
TEMPORARY = r"(\.checkpoint|\.first)?\.[0-9a-f]{16}\.part(\.\w+)?"


def read_regular(path: Path, what: str) -> bytes:
    """Content of a regular file; a pipe or device is refused before anything is read.

    Raises
    ------
    FileNotFoundError
        If there is none.
    InputError
        If it is no regular file or cannot be read.
    """
    try:
        # Opening a pipe would wait for somebody who writes into it.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{what} '{path}' cannot be read ({error.strerror or error})") from error
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise InputError(
                f"{what} '{path}' is no regular file but a pipe, device or folder; remove it, or "
                "name another output"
            )
        try:
            return file.read()
        except OSError as error:
            raise InputError(f"{what} '{path}' cannot be read ({error})") from error


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Only one process, and one thread of it, writes this file at a time.

    The lock is one of the operating system on a file beside it, so that it ends with the process.
    Temporary files that a killed process left are removed.

    Raises
    ------
    OutputError
        If it is being written.
    """
    import fcntl

    target = _target_of(path)
    file = target.with_name(f".{target.name[:LONGEST]}.lock")
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 200).decode(errors="replace").strip()
            os.close(handle)
            raise OutputError(
                f"{what} '{path}' is being written by another run ({owner or 'just started'}); "
                "wait for it, end it, or name another"
            ) from None
        except OSError as error:  # some file systems have no locks
            logger.info("no lock on %s (%s)", path, error)
        if file.exists() and os.path.samestat(os.fstat(handle), os.stat(file)):
            break
        os.close(handle)  # the one before has just removed it
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
        stale = re.compile(re.escape("." + target.name[:LONGEST]) + TEMPORARY)
        for one in target.parent.iterdir():
            if stale.fullmatch(one.name) and one.is_file():
                one.unlink(missing_ok=True)
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(handle)


def _target_of(path: Path) -> Path:
    """The file itself where the path is a symbolic link: it is written through."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _temporary_beside(target: Path) -> Path:
    """A new empty file in the folder of the target, made exclusively, with a random name."""
    while True:
        path = target.with_name(f".{target.name[:LONGEST]}.{secrets.token_hex(8)}.part")
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        os.close(handle)
        return path


@contextmanager
def replaced(
    target: Path, what: str, kind: str = "", *, through_links: bool = True
) -> Iterator[Path]:
    """A temporary file to be written, which takes the place of `target` when it is on the disk.

    Parameters
    ----------
    target : Path
    what : str
        For the message of an error.
    kind : str
        Ending of the temporary name, for libraries that choose a format by it.
    through_links : bool
        A symbolic link stays, and the file that it names is replaced; else the link is.

    Raises
    ------
    OutputError
        If writing fails; `target` stays as it was.
    """
    whole = _target_of(target) if through_links else target
    partial = None
    try:
        partial = _temporary_beside(whole)
        if kind:
            partial = partial.rename(partial.with_name(partial.name + kind))
        yield partial
        _synced(partial)
        partial.replace(whole)
        _synced(whole.parent)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(
            f"{what} '{target}' could not be written ({error.strerror or error}); check space and "
            "permissions"
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _synced(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that may be written to but not listed
        return
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # some file systems sync no folders
            raise
    finally:
        os.close(handle)


def check_writable(path: str | os.PathLike[str]) -> Path:
    """The path, after trying that a file can be made in its folder; nothing is overwritten yet.

    Raises
    ------
    OutputError
        If the folder is missing or cannot be written to, or the path is a folder.
    """
    if not isinstance(path, str | os.PathLike):
        raise OutputError(f"output must be a path, got {shown(path)}; pass a file name")
    target = path_of(path, "output")
    folder = _target_of(target).parent
    if os.path.isdir(target):
        raise OutputError(f"output must be a file, got the folder '{target}'; add a file name")
    if os.path.exists(target) and not os.path.isfile(target):
        raise OutputError(
            f"output must be a regular file, got the device or pipe '{target}'; name another file"
        )
    if not os.path.isdir(folder):
        raise OutputError(f"output folder '{folder}' does not exist; create it first")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise OutputError(f"output '{target}' cannot be written to; change its permissions")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"output folder '{folder}' cannot be written to ({error.strerror}); choose another"
        ) from error
    return target
