"""Requests that nobody waits for: 100 connections without a key send 250 KB of them at once, over and over.

Meanwhile every delivery is stored and answered within a second, 99 of 100 times, and the receiver's memory stays
far below the 512 MiB that its unit permits.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from socket import create_connection, socket
from threading import Event, Thread

from tests.torture.clients import Client, answers, audit
from tests.torture.running import Running, receiver
from tests.torture.table import CannotRunHereError, Row, Trial

MUTANT = "no-limit-on-pipelining"
CONNECTIONS = 100
BURST = b"GET /a HTTP/1.1\r\n\r\n" * 13_000
SECONDS = 3
MOST_MIB, MOST_S = 256, 1.0


def prove(times: int, folder: Path) -> Row:
    """So many times such an attack of some seconds."""
    if not Path("/proc/self/status").exists():
        raise CannotRunHereError("needs Linux, to see how much memory another process takes")
    honest, peak = _attacks(folder / "sound", times)
    mutant, _ = _attacks(folder / "mutant", 1, MUTANT)
    tried = (
        f"{times} times {SECONDS} s of {CONNECTIONS} connections with {len(BURST) >> 10} KiB each; {peak} MiB used"
    )
    return Row("pipelined requests without a key", tried, honest, {MUTANT: mutant})


def _attacks(home: Path, times: int, broken: str = "") -> tuple[Trial, int]:
    """What came of deliveries meanwhile, and the most memory that the receiver took, in MiB."""
    trial, took = Trial(), []
    with receiver(home, broken=broken) as running:
        client = Client(running.port)
        for _ in range(times):
            with attack(running.port):
                end = time.monotonic() + SECONDS
                while time.monotonic() < end:
                    began = time.monotonic()
                    said = _post(client)
                    trial.expect(said == "stored", f"a delivery was {said}")
                    took.append(time.monotonic() - began)
                    time.sleep(0.01)
        client.close()
        peak = _peak_mib(running)
        running.kill()
    trial.add(audit(client.ledger, running.raw))
    p99 = sorted(took)[len(took) * 99 // 100]
    trial.expect(p99 < MOST_S, f"one delivery of 100 took {p99:.1f} s")
    trial.expect(peak < MOST_MIB, f"took {peak} MiB of memory")
    return trial, peak


def _post(client: Client) -> str:
    """What was said to one delivery."""
    try:
        return next(answers(client, 1))
    except (OSError, HTTPException):
        client.close()  # it opens another connection with the next
        return "not answered"


def _peak_mib(running: Running) -> int:
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


@contextmanager
def attack(port: int) -> Iterator[None]:
    """Connections that send all they can, read nothing, and come again as soon as they are ended."""
    over = Event()
    thread = Thread(target=_attack, args=[port, over])
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _attack(port: int, over: Event) -> None:
    connections: dict[socket, int] = {}
    while not over.is_set():
        for connection, sent in list(connections.items()):
            try:
                connections[connection] = sent + connection.send(BURST[sent:])
            except BlockingIOError:
                pass
            except OSError:
                connection.close()
                del connections[connection]
        while len(connections) < CONNECTIONS and not over.is_set():
            with suppress(OSError):
                connection = create_connection(("127.0.0.1", port), timeout=5)
                connection.setblocking(False)
                connections[connection] = 0
        time.sleep(0.01)
    for connection in connections:
        connection.close()
