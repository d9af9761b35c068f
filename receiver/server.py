"""Start, supervise and stop the receiver; none of it happens at import."""

import fcntl
import gc
import logging
import math
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from multiprocessing import connection, parent_process
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.supervisors import Multiprocess

from receiver import logs, rawstore
from receiver.keys import Keyring
from receiver.settings import Settings, SettingsError

if TYPE_CHECKING:
    from receiver.app import App

log = logging.getLogger(__name__)

_SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own name, read when it is imported
_METRICS_BYTES = 1 << 16  # what prometheus_client begins a file with
_BACKLOG = 2048
_SPARE_FILES = 64  # descriptors that are not connections


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 8000, workers: int = 1) -> int:
    """Receive visits until SIGTERM or SIGINT, then answer what is in flight and close the segments.

    Returns the exit code: 0 after a stop that was asked for, 2 with one sentence on stderr when the receiver
    cannot start as configured.
    """
    os.umask(0o077)
    logs.configure()
    try:
        Keyring(settings)
        _make_private(settings)
        sock = _listen(host, port)
    except SettingsError as why:
        print(why, file=sys.stderr)
        return 2
    _recover(settings)
    os.environ.update(settings.as_environ())
    with _shared_metrics(settings.run) if workers > 1 else nullcontext(), sock:
        log.info("listening", extra={"fields": _address(sock) | {"workers": workers, "pid": os.getpid()}})
        _run(_config(settings, workers), sock)
    log.info("stopped", extra={"fields": {"pid": os.getpid()}})
    return 0


def application() -> "App":
    """What every worker process runs, configured by its environment alone."""
    os.umask(0o077)
    logs.configure()
    _stop_with_parent()
    settings = Settings.from_environ(os.environ)
    settings = replace(settings, max_connections=min(settings.max_connections, _file_limit() - _SPARE_FILES))
    shared = _reserve_metrics()
    # Not at the top: prometheus_client decides at its import whether several processes share their figures.
    from receiver.app import create_app  # noqa: PLC0415

    app = create_app(settings, shared_metrics=shared)
    # What was loaded stays for good, and requests leave no cycles: look for garbage seldom, and only at the new.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    return app


def _config(settings: Settings, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        "receiver.server:application",
        factory=True,
        workers=workers,
        http="receiver.protocol:ReceiverProtocol",
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=math.ceil(settings.request_timeout_s) + 5,
    )


def _run(config: uvicorn.Config, sock: socket.socket) -> None:
    if config.workers > 1:
        Multiprocess(config, sockets=[sock]).run()
        return
    server = uvicorn.Server(config)

    def stop(_number: int, _frame: object) -> None:
        server.should_exit = True

    # For a signal before uvicorn listens to signals; afterwards it raises the one that stopped it once more.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run(sockets=[sock])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as why:
        reason = os.strerror(why.errno) if isinstance(why, OSError) and why.errno else "no such address"
        raise SettingsError(f"Cannot listen on {host} port {port} ({reason}): choose another.") from None


def _address(sock: socket.socket) -> dict[str, object]:
    host, port = sock.getsockname()[:2]
    return {"host": host, "port": port}


def _make_private(settings: Settings) -> None:
    """Make the folders, readable for their owner alone."""
    try:
        for folder in (settings.home, settings.raw, settings.run):
            rawstore.make_folder(folder)
            folder.chmod(0o700)
    except OSError as why:
        raise SettingsError(
            f"KOBRA_HOME cannot be used ({os.strerror(why.errno or 0)}): name a folder this user may write to."
        ) from None


def _recover(settings: Settings) -> None:
    """Close what an earlier receiver left half-open; a failure is left to the loader, which does the same."""
    try:
        for recovered in rawstore.recover(settings.raw):
            log.warning("segment_recovered", extra={"fields": recovered._asdict()})
    except OSError:
        log.exception("recovery_failed")


def _file_limit() -> int:
    """How many files this process may open, once that limit is raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems call unlimited what they do not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return soft if soft > 0 else 1 << 20


def _stop_with_parent() -> None:
    """Let a worker end when its supervisor was killed, instead of keeping the port for ever."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, name="parent", daemon=True).start()


@contextmanager
def _shared_metrics(run: Path) -> Iterator[None]:
    """A fresh folder for the workers' figures; those that killed receivers left behind are removed."""
    held = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(held, fcntl.LOCK_EX)
    for left in run.glob("metrics-*"):
        _remove_if_free(left)
    folder = Path(tempfile.mkdtemp(prefix="metrics-", dir=run)).absolute()
    own = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(own, fcntl.LOCK_EX)
    os.close(held)
    os.environ[_SHARED_METRICS] = str(folder)
    try:
        yield
    finally:
        del os.environ[_SHARED_METRICS]
        shutil.rmtree(folder, ignore_errors=True)
        os.close(own)


def _reserve_metrics() -> Path | None:
    """The shared folder, with this process's files in it at full length; None when there is no such folder.

    prometheus_client maps sparse files into memory: on a full disk the first touch of a page would kill us.
    """
    if _SHARED_METRICS not in os.environ:
        return None
    folder = Path(os.environ[_SHARED_METRICS])
    try:
        for kind in ("counter", "histogram"):
            fd = os.open(folder / f"{kind}_{os.getpid()}.db", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, _METRICS_BYTES)
            finally:
                os.close(fd)
    except OSError:
        log.exception("metrics_not_shared")
        del os.environ[_SHARED_METRICS]
        return None
    return folder


def _remove_if_free(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(fd)
