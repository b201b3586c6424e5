"""Files that appear under their name only when they are complete."""

import contextlib
import errno
import glob
import os
import uuid
from pathlib import Path

from upramp.errors import OutputError

try:
    import fcntl
except ImportError:  # not POSIX: what a killed process has left stays
    fcntl = None

__all__ = ["replacing", "reserve"]

_CHUNK = 1 << 23


@contextlib.contextmanager
def replacing(path):
    """Open a hidden file in the folder of ``path``; on success it takes that name, on any error it is removed.

    An older file of the name stays as it was until then, and who has it mapped keeps the old contents. What killed
    processes have left of the same name, hidden, is removed.

    Raises
    ------
    OutputError
        The folder is missing or not writable (before anything is written); the disk is full.
    """
    path = Path(path)
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{path} cannot be written: the folder {folder} does not exist. Create it first.")
    if path.is_dir():
        raise OutputError(f"{path} cannot be written: a folder has that name")
    temporary, handle = _made_for(path)
    try:
        # Closing may still fail to write (on a network), so it comes before the name; the lock stays until after it.
        with os.fdopen(os.dup(handle.fileno())):
            with handle:
                _remove_abandoned(path, temporary)
                yield handle
            temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutputError(f"{path} cannot be written: {error.strerror}. Free space in {folder}.") from error
        raise


def _made_for(path):
    """A new hidden file for ``path``, locked to show that somebody is writing it: its name and handle."""
    while True:
        temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.part"
        try:
            handle = os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), "r+b")
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written: no file can be made in {path.parent} ({error.strerror})"
            ) from error
        _lock(handle)
        if temporary.exists():
            return temporary, handle
        # Another process has taken it for abandoned between the two lines that make and lock it.
        handle.close()


def _lock(handle, wait=True):
    """Lock a file until it is closed, or its process ends; returns whether that could be done."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (AttributeError, OSError):  # also a file system that cannot lock: nothing is removed there
        return False
    return True


def _remove_abandoned(path, own):
    """Remove hidden files of the name ``path``, other than ``own``, that no process is writing."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 12}.part"):
        if left == own:
            continue
        with contextlib.suppress(OSError), left.open("r+b") as handle:
            if _lock(handle, wait=False):
                left.unlink()


def reserve(handle, size):
    """Give a file its size with blocks on the disk behind it, so that writing to a mapping cannot fail later."""
    try:
        os.posix_fallocate(handle.fileno(), 0, size)
    except (AttributeError, OSError) as error:
        if getattr(error, "errno", errno.EOPNOTSUPP) not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        # A file system, or a system, without it: blocks come by writing zeros.
        handle.seek(0, os.SEEK_END)
        missing = size - handle.tell()
        while missing > 0:
            missing -= handle.write(bytes(min(missing, _CHUNK)))
        handle.flush()
