"""Read the waiting segments ahead of the load, in processes of their own when there is more than a little."""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from pathlib import Path
from queue import Queue
from typing import IO

import pyarrow as pa

from pipelines.pages import LINES, Page, Plan, Segment, Taken, parts
from receiver.rawstore import Damage

_ONE_PROCESS_BYTES = 8 << 20  # up to here another process costs more than it gains
_MOST = 4  # one load takes what so many read, not more

Receive = Callable[[int, pa.Table], None]


class ReadingError(RuntimeError):
    """A process that reads segments did not come to its end."""


def processes_for(segments: list[Path]) -> int:
    """How many processes are to read segments: 0 where they hold so little that this one does."""
    if sum(path.stat().st_size for path in segments) <= _ONE_PROCESS_BYTES:
        return 0
    return min(len(segments), os.cpu_count() or 1, _MOST)


@contextmanager
def read_ahead(segments: list[Path], processes: int, receive: Receive) -> Iterator[Iterator[Page]]:
    """The pages that segments make, each when `receive` has got all its deliveries: in parts, with its number.

    There is at least one page, so that a first load makes every table. Processes read a page ahead of the one in
    use: reading holds Python's lock nearly all the time, as does dlt, and side by side they would wait for each
    other. Each of them has a thread here, in which `receive` is called.
    """
    plan = Plan(segments)
    if not segments:
        yield iter([Page(0, [])])
    elif not processes:
        yield _used(_read(plan, parts, receive), plan)
    else:
        with ExitStack() as running, ThreadPoolExecutor(processes) as threads:
            readers = [running.enter_context(_Reader()) for _ in range(processes)]
            pages = Queue[Page | BaseException | None]()
            for reader in readers:
                threads.submit(_follow, reader.read(plan, receive), pages)
            try:
                yield _used(_arriving(pages, processes), plan)
            finally:
                plan.stop()
                for reader in readers:
                    reader.kill()


def _read(plan: Plan, parts_of: Callable[[Path], Iterator[pa.Table | Segment]], receive: Receive) -> Iterator[Page]:
    while to_read := plan.next():
        number, path = to_read
        for part in parts_of(path):
            if isinstance(part, pa.Table):
                receive(number, part)
            elif page := plan.add(number, path, part):
                yield page


def _used(pages: Iterator[Page], plan: Plan) -> Iterator[Page]:
    """The same pages; who asks for the next one has loaded the last."""
    for page in pages:
        yield page
        plan.loaded(page.number)


def _follow(source: Iterator[Page], pages: "Queue[Page | BaseException | None]") -> None:
    try:
        for page in source:
            pages.put(page)
    except BaseException as why:  # noqa: BLE001 - it is raised where the pages are used
        pages.put(why)
    else:
        pages.put(None)


def _arriving(pages: "Queue[Page | BaseException | None]", running: int) -> Iterator[Page]:
    while running:
        match pages.get():
            case None:
                running -= 1
            case BaseException() as why:
                raise why
            case page:
                yield page


# ---------------------------------------------------------------- the other process


class _Reader:
    """A process that reads segments."""

    def __init__(self) -> None:
        # -P: a folder called pipelines where somebody happens to stand is not ours.
        command = [sys.executable, "-P", "-m", "pipelines.readers"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._names, self._stream = self._process.stdin, self._process.stdout

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *failure: object) -> None:
        self.kill()
        with suppress(BrokenPipeError):  # a name that it did not take any more
            self._names.close()
        self._stream.close()
        self._process.wait()

    def kill(self) -> None:
        self._process.kill()

    def read(self, plan: Plan, receive: Receive) -> Iterator[Page]:
        """The pages whose last segment it read. Raises ReadingError when the process does not come to its end."""
        yield from _read(plan, self._parts, receive)
        self._names.close()
        if self._process.wait():
            raise ReadingError("a process that reads segments failed")

    def _parts(self, path: Path) -> Iterator[pa.Table | Segment]:
        try:
            self._names.write(json.dumps(str(path)).encode() + b"\n")
            self._names.flush()
        except BrokenPipeError:
            raise ReadingError("a process that reads segments did not start, or died") from None
        yield from _received(self._stream)


def _received(stream: IO[bytes]) -> Iterator[pa.Table | Segment]:
    while head := stream.readline():
        match json.loads(head):
            case int(rows):
                lines = pa.ipc.open_stream(stream).read_all()
                if lines.num_rows != rows:  # Arrow takes an end between two batches for the end of the stream
                    break
                yield lines
            case [[segment, day, *figures], damage]:
                taken = Taken(segment, date.fromisoformat(day), *figures)
                yield Segment(taken, [Damage(*each) for each in damage])
                return
    raise ReadingError("a process that reads segments broke off")


def _send(part: pa.Table | Segment, stream: IO[bytes]) -> None:
    if isinstance(part, Segment):
        stream.write(json.dumps(part, default=str).encode() + b"\n")
    else:
        stream.write(b"%d\n" % part.num_rows)
        with pa.ipc.new_stream(stream, LINES) as writer:
            writer.write_table(part)
    stream.flush()


def _serve(names: Iterable[bytes], stream: IO[bytes]) -> None:
    """Read the segments that are named, a line each, until there are no more."""
    for name in names:
        for part in parts(Path(json.loads(name))):
            _send(part, stream)


def _give_way() -> None:
    """Let who loads a page go first: then the next one is never ready too early, and no processor idle."""
    with suppress(PermissionError):  # a sandbox may forbid it: then a load takes longer
        os.nice(10)


if __name__ == "__main__":
    _give_way()
    gc.disable()  # nothing here refers to itself
    _serve(sys.stdin.buffer, sys.stdout.buffer)
