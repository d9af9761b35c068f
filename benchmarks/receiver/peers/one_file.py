"""One synced file per webhook, its name synced too, written by the threads that asyncio brings along."""

import asyncio
import os
from itertools import count
from pathlib import Path

ANSWER = b'{"status":"stored"}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
FOLDER = Path(os.environ["BENCH_FOLDER"])
numbers = count()


def store(body: bytes) -> None:
    """On return the body's file and its directory entry are on disk."""
    fd = os.open(FOLDER / f"{next(numbers):012d}.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, body)
        os.fsync(fd)
    finally:
        os.close(fd)
    folder = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


async def app(_scope, receive, send):
    """The ASGI application."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await asyncio.to_thread(store, body)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
