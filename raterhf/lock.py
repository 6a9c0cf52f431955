"""One writer of a folder at a time, by a lock that names its holder.

The lock is the kernel's (flock on FOLDER/.lock), so it ends with the process that holds it, however that process ends; the file says who
holds it: `host`, `process`, `since`. What a dead process of this host left is taken over. A file that names another host is not, since
some network file systems do not tell hosts of each other's locks. Processes that the holder starts write in its name and take no lock;
readers take none either.
"""

import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from raterhf import io
from raterhf.errors import UserError
from raterhf.log import log

LOCK = ".lock"
_held: dict[Path, int] = {}  # lock files that this process holds, and the thread that took each


@contextmanager
def hold_run(folder: Path) -> Iterator[None]:
    """As `hold`; and what a killed process left half written in the folder and below is removed first."""
    with hold(folder):
        io.sweep(folder)
        yield


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Be the one process that writes into `folder`, which is made where it is not there. Whoever holds it already may hold it again.

    Raises UserError where another process holds it, or nothing can be written there.
    """
    path = folder.resolve() / LOCK
    if _held.get(path) == threading.get_ident():
        yield
        return
    made = [place for place in path.parents if not place.exists()]
    descriptor = _take(path)
    _held[path] = threading.get_ident()
    try:
        yield
    finally:
        del _held[path]
        path.unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):  # of a folder that something was written into
            for place in made:
                place.rmdir()


def _take(path: Path) -> int:
    """The descriptor of the lock file, locked, with this process's name in it."""
    while True:
        descriptor = _open(path)
        try:
            if not _lock(descriptor):
                raise UserError(
                    f"{path.parent} is being written by {_holder(descriptor)}; wait until it ends, end it, or write into another folder "
                    "(for a recipe: name=OTHER)"
                )
            if not _is_same(descriptor, path):  # its holder removed it between our opening and locking it
                os.close(descriptor)
                continue
            _take_over(descriptor, path)
            return descriptor
        except BaseException:
            os.close(descriptor)
            raise


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path.parent} cannot be made a folder that is written into ({error}); give another one, with runs=FOLDER or --out")


def _lock(descriptor: int) -> bool:
    """Whether nobody else holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        log.warning(f"this file system has no locks ({error.strerror}): nobody notices where two processes write into one folder")
    return True


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _take_over(descriptor: int, path: Path) -> None:
    """Write this process's name in place of a dead one's."""
    host, before = socket.gethostname(), _read(descriptor)
    if before.get("host", host) != host:
        raise UserError(
            f"{path.parent} was being written by {_holder(descriptor)}, and this host ({host}) cannot see whether it still runs; when it "
            f"does not, remove {path} and run again"
        )
    if before:
        log.info(f"{path.parent}: taken over from {_holder(descriptor)}, which has ended")
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"host": host, "process": os.getpid(), "since": since}).encode(), 0)
    except OSError as error:  # a full disk
        path.unlink()
        raise _unwritable(path, error) from error


def _holder(descriptor: int) -> str:
    found = _read(descriptor)
    return "process {process} on {host} since {since}".format(**found) if found else "another process, which has only begun"


def _read(descriptor: int) -> dict:
    """Who stands in the file; nobody where its writer was killed before the end of it."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return found if found.keys() == {"host", "process", "since"} else {}
    except (ValueError, AttributeError):
        return {}
