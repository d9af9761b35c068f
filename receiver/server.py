"""Start and stop the receiver; none of it happens at import."""

import asyncio
import gc
import logging
import math
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import cast

import uvicorn

from receiver import logs, rawstore
from receiver.app import Receiver, create_app
from receiver.http_guard import Guard, GuardedHttp
from receiver.keys import Keyring
from receiver.settings import Settings, SettingsError

log = logging.getLogger(__name__)

_BACKLOG = 2048
_SPARE_FILES = 64  # descriptors that are not connections


def serve(settings: Settings, host: str = "127.0.0.1", port: int = 8000) -> int:
    """Receive visits until SIGTERM or SIGINT, then answer what is in flight and close the segment.

    Returns the exit code: 0 after a stop that was asked for, 2 with one sentence on stderr when the receiver
    cannot start as configured.
    """
    os.umask(0o077)
    logs.configure()
    try:
        Keyring(settings)
        _make_private(settings)
        app = create_app(settings)
        sock = _listen(host, port)
    except SettingsError as why:
        print(why, file=sys.stderr)
        return 2
    _recover(settings)
    _collect_garbage_seldom()
    with sock:
        log.info("listening", extra={"fields": _address(sock) | {"pid": os.getpid()}})
        _run(_config(app, settings), sock)
    log.info("stopped", extra={"fields": {"pid": os.getpid()}})
    return 0


def _config(app: Receiver, settings: Settings) -> uvicorn.Config:
    guard = Guard(
        timeout_s=settings.request_timeout_s,
        max_body_bytes=settings.max_body_bytes,
        max_connections=min(settings.max_connections, _file_limit() - _SPARE_FILES),
        count=app.metrics.hang_up,
    )
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", partial(GuardedHttp, guard)),
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
        for folder in (settings.home, settings.raw_folder):
            rawstore.make_folder(folder)
            folder.chmod(0o700)
    except OSError as why:
        raise SettingsError(
            f"KOBRA_HOME cannot be used ({os.strerror(why.errno or 0)}): name a folder this user may write to."
        ) from None


def _recover(settings: Settings) -> None:
    """Close what an earlier receiver left half-open; a failure is left to the loader, which does the same."""
    try:
        for recovered in rawstore.recover(settings.raw_folder):
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


def _collect_garbage_seldom() -> None:
    """What was loaded stays for good, and requests leave no cycles: look for garbage seldom, and only at the new."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
