"""File systems of our own: in a file behind a loop device, or of a few kilobytes in memory. All need root."""

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torture.table import CannotRunHereError

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, the same number for ext4, xfs and f2fs
_NO_LOG_FLUSH = 2
_IMAGE_BYTES = 512 << 20  # sparse; mkfs.xfs refuses less than 300 MiB


def require_root(*tools: str) -> None:
    """Raises CannotRunHereError unless this is root and the tools are installed."""
    if os.geteuid() != 0:
        raise CannotRunHereError("needs root, to mount")
    require(*tools)


def require(*tools: str) -> None:
    """Raises CannotRunHereError unless the tools are installed."""
    for tool in tools:
        if shutil.which(tool) is None:
            raise CannotRunHereError(f"needs {tool}, which is not installed")


class Disk:
    """A file system in a file, mounted on a folder, from which the power can be taken."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.at = folder / "mounted"
        self._image = folder / "image"
        self.at.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(_IMAGE_BYTES)
        run(f"mkfs.{kind}", "-q", str(self._image))

    def mount(self) -> None:
        run("mount", "-o", "loop", str(self._image), str(self.at))

    def cut_power(self) -> None:
        """From now on nothing reaches the disk, not even the journal: what is only in memory is gone."""
        fd = os.open(self.at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self) -> None:
        run("umount", str(self.at))


@contextmanager
def disk(folder: Path, kind: str) -> Iterator[Disk]:
    """A new, mounted file system; gone afterwards."""
    made = Disk(folder, kind)
    try:
        made.mount()
    except CannotRunHereError as why:
        raise CannotRunHereError(f"needs loop devices and {kind} in the kernel") from why
    try:
        yield made
    finally:
        subprocess.run(["umount", str(made.at)], check=False, capture_output=True)
        made._image.unlink()


@contextmanager
def small(folder: Path, size: str) -> Iterator[Path]:
    """A file system of this size in memory."""
    folder.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        run("umount", str(folder))


def run(*command: str) -> None:
    """Run a tool. Raises CannotRunHereError with what it said when it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise CannotRunHereError(f"{command[0]} fails here: {done.stderr.strip()}")
