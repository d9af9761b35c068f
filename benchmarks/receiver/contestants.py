"""Who is measured: our receiver, the limit, and the peers, each started in a folder of its own."""

import os
import pwd
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.receiver import processes, traffic
from benchmarks.receiver.processes import UnavailableError
from receiver import rawstore

PEERS = Path(__file__).parent / "peers"


class Bench(NamedTuple):
    """What a measurement is made with: compiled programs, the peers' Python, and how long each one lasts."""

    generator: Path
    limit: Path
    peers_python: Path
    seconds: float


class Server(NamedTuple):
    """A server that listens; its process group is named by `pid`."""

    port: int
    pid: int


class Contestant(NamedTuple):
    """`stored` counts the webhooks in its folder after it has stopped, where that can be seen from outside."""

    name: str
    start: Callable[[Bench, Path], AbstractContextManager[Server]]
    connections: tuple[int, ...]
    stored: Callable[[Path], int] | None = None


# ---------------------------------------------------------------- ours


@contextmanager
def our_receiver(folder: Path) -> Iterator[Server]:
    """`python -m receiver` with its store in a folder, from the first 200 on /healthz."""
    port, log = processes.free_port(), folder.with_suffix(".log")
    env = {"KOBRA_HOME": str(folder), "KOBRA_API_KEYS": f"bench:{traffic.KEY}"}
    command = [sys.executable, "-m", "receiver", "--port", port]
    with processes.running(command, log, env) as process:
        processes.until_healthy(process, port, log)
        yield Server(port, process.pid)


def _ours(_bench: Bench, folder: Path) -> AbstractContextManager[Server]:
    return our_receiver(folder)


def _landed(folder: Path) -> int:
    """Sound records with an id of their own in closed segments."""
    ids = {
        item.delivery.delivery_id
        for path in rawstore.closed(folder / "raw").values()
        for item in rawstore.read_segment(path)
        if isinstance(item, rawstore.Landed)
    }
    return len(ids)


# ---------------------------------------------------------------- the limit and the floor


@contextmanager
def _limit(bench: Bench, folder: Path) -> Iterator[Server]:
    port, log = processes.free_port(), folder.with_suffix(".log")
    with processes.running([bench.limit, port, folder / "visits"], log, {}) as process:
        processes.until_listening(process, port, log)
        yield Server(port, process.pid)


@contextmanager
def _asgi(python: Path, app: str, folder: Path, store: str = "") -> Iterator[Server]:
    port, log = processes.free_port(), folder.with_suffix(".log")
    env = {"BENCH_FOLDER": str(folder), "BENCH_KEY": traffic.KEY, "BENCH_STORE": store}
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    command = [python, "-m", "uvicorn", "--app-dir", PEERS, app, "--port", port, *options]
    with processes.running(command, log, env) as process:
        processes.until_listening(process, port, log)
        yield Server(port, process.pid)


def _nothing_stored(_bench: Bench, folder: Path) -> AbstractContextManager[Server]:
    return _asgi(Path(sys.executable), "nothing_stored:app", folder)


def _one_file(_bench: Bench, folder: Path) -> AbstractContextManager[Server]:
    return _asgi(Path(sys.executable), "one_file:app", folder)


def _count_files(folder: Path) -> int:
    return sum(1 for _ in os.scandir(folder))


def _count_bodies(between: int) -> Callable[[Path], int]:
    """How many bodies one file holds, each followed by so many bytes."""

    def count(folder: Path) -> int:
        return (folder / "visits").stat().st_size // (traffic.BODY.stat().st_size + between)

    return count


# ---------------------------------------------------------------- peers with packages or servers of their own


def _peers_python(bench: Bench) -> Path:
    if not bench.peers_python.exists():
        raise UnavailableError(f"{bench.peers_python} is missing: make it from requirements-peers.txt")
    return bench.peers_python


def _program(name: str, package: str) -> str:
    debians = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or next(map(str, reversed(debians)), None)
    if found is None:
        raise UnavailableError(f"there is no {name} here: install {package}")
    return found


@contextmanager
def _postgres(bench: Bench, folder: Path) -> Iterator[Server]:
    python = _peers_python(bench)
    initdb, postgres = _program("initdb", "postgresql"), _program("postgres", "postgresql")
    port, log, user = processes.free_port(), folder.with_suffix(".log"), None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = _unprivileged()
        shutil.chown(folder, user)
    with ExitStack() as started:
        creation = [initdb, "--auth=trust", "--username=bench", "--encoding=UTF8", "--pgdata", folder / "db"]
        with processes.running(creation, log, {}, user) as process:
            if process.wait(processes.START_S):
                raise UnavailableError(f"initdb failed: {log.read_text(errors='replace').splitlines()[-1]}")
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        command = [postgres, "-D", folder / "db", "-p", port, *options]
        process = started.enter_context(processes.running(command, log, {}, user))
        processes.until_listening(process, port, log)
        store = f"postgresql://bench@127.0.0.1:{port}/postgres"
        yield started.enter_context(_asgi(python, "fastapi_postgres:app", folder, store))


def _unprivileged() -> str:
    for name in ("postgres", "nobody"):
        if any(entry.pw_name == name for entry in pwd.getpwall()):
            return name
    raise UnavailableError("there is no user to run PostgreSQL as")


@contextmanager
def _redis(bench: Bench, folder: Path) -> Iterator[Server]:
    python = _peers_python(bench)
    port, log = processes.free_port(), folder.with_suffix(".log")
    options = ["--bind", "127.0.0.1", "--dir", folder, "--appendonly", "yes", "--appendfsync", "always"]
    command = [_program("redis-server", "redis-server"), "--port", port, *options, "--save", ""]
    with ExitStack() as started:
        process = started.enter_context(processes.running(command, log, {}))
        processes.until_listening(process, port, log)
        store = f"redis://127.0.0.1:{port}"
        yield started.enter_context(_asgi(python, "fastapi_redis:app", folder, store))


def _flask_widened(bench: Bench, folder: Path) -> AbstractContextManager[Server]:
    return _flask(bench, folder, threads=32)


def _flask_as_it_comes(bench: Bench, folder: Path) -> AbstractContextManager[Server]:
    return _flask(bench, folder, threads=4)


@contextmanager
def _flask(bench: Bench, folder: Path, threads: int) -> Iterator[Server]:
    port, log = processes.free_port(), folder.with_suffix(".log")
    env = {"BENCH_FOLDER": str(folder), "BENCH_KEY": traffic.KEY}
    command = [_peers_python(bench), PEERS / "flask_fsync.py", port, threads]
    with processes.running(command, log, env) as process:
        processes.until_listening(process, port, log)
        yield Server(port, process.pid)


OURS = Contestant("ours", _ours, (1, 32, 256), _landed)
LIMIT = Contestant("limit: C epoll server, group commit", _limit, (1, 32, 256), _count_bodies(between=1))
NOTHING_STORED = Contestant("uvicorn raw ASGI, nothing stored", _nothing_stored, (32,))
ONE_FILE = Contestant("one file per webhook, uvicorn raw ASGI", _one_file, (32,), _count_files)
POSTGRES = Contestant("FastAPI → PostgreSQL", _postgres, (32,))
REDIS = Contestant("FastAPI → Redis, appendfsync always", _redis, (32,))
FLASK = Contestant("Flask + fsync, waitress with 32 threads", _flask_widened, (32,), _count_bodies(between=0))
FLASK_AS_IT_COMES = Contestant(
    "Flask + fsync, waitress with its own 4", _flask_as_it_comes, (32,), _count_bodies(between=0)
)

EVERYBODY = (OURS, LIMIT, NOTHING_STORED, ONE_FILE, POSTGRES, REDIS, FLASK, FLASK_AS_IT_COMES)
