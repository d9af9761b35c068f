"""File systems of our own: in a file behind a loop device, or of a few kilobytes in memory. All need root."""

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.torture.table import CannotRunHereError

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, the same number for ext4, xfs and f2fs
_NO_LOG_FLUSH = 2
_NEW_MOUNT_NAMESPACE = 0x00020000
_IMAGE_BYTES = 512 << 20  # sparse; mkfs.xfs refuses less than 300 MiB


class ToolFailedError(Exception):
    """A tool that is there and may be used here failed all the same."""


def require_root(*tools: str) -> None:
    """Raises CannotRunHereError unless this is root and the tools are installed."""
    if os.geteuid() != 0:
        raise CannotRunHereError("needs root, to mount")
    require(*tools)
    _mount_for_ourselves()


def require(*tools: str) -> None:
    """Raises CannotRunHereError unless the tools are installed."""
    for tool in tools:
        if shutil.which(tool) is None:
            raise CannotRunHereError(f"needs {tool}, which is not installed")


@cache
def _mount_for_ourselves() -> None:
    """Let nobody else see our mounts: a container that starts meanwhile would take a copy of them along, and what
    is unmounted here would live on there, still without power."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_MOUNT_NAMESPACE):
        raise CannotRunHereError("needs a mount namespace of its own, which this container may not make")
    run("mount", "--make-rprivate", "/")


class Disk:
    """A file system in a file, mounted on a folder, from which the power can be taken."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.at = folder / "mounted"
        self._image = folder / "image"
        self.at.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(_IMAGE_BYTES)
        run(f"mkfs.{kind}", "-q", str(self._image))
        # One device for all mounts: one that is let go at every unmount would be taken down behind our back,
        # while the next one already reads the same file.
        self._device = run("losetup", "--find", "--show", str(self._image)).strip()

    def mount(self) -> None:
        run("mount", self._device, str(self.at))

    def cut_power(self) -> None:
        """From now on nothing reaches the disk, not even the journal: what is only in memory is gone."""
        fd = os.open(self.at, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self) -> None:
        run("umount", str(self.at))

    def throw_away(self) -> None:
        subprocess.run(["umount", str(self.at)], check=False, capture_output=True)
        run("losetup", "--detach", self._device)
        self._image.unlink()


@contextmanager
def disk(folder: Path, kind: str) -> Iterator[Disk]:
    """A new, mounted file system; gone afterwards. Raises CannotRunHereError when even an empty one cannot be."""
    try:
        made = Disk(folder, kind)
        made.mount()
    except ToolFailedError as why:
        raise CannotRunHereError(f"needs loop devices and {kind}: {why}") from why
    try:
        yield made
    finally:
        made.throw_away()


@contextmanager
def small(folder: Path, size: str) -> Iterator[Path]:
    """A file system of this size in memory."""
    folder.mkdir(parents=True)
    try:
        run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    except ToolFailedError as why:
        raise CannotRunHereError(f"needs tmpfs: {why}") from why
    try:
        yield folder
    finally:
        run("umount", str(folder))


def run(*command: str) -> str:
    """Run a tool; what it printed. Raises ToolFailedError with what it said when it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ToolFailedError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout
