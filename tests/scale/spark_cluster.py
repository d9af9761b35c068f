"""A Spark cluster of this machine's own: a master and two workers of one core each, as processes."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

WORKERS = 2
LOCAL = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_NO_DAEMONIZE": "1"}
_EXECUTOR = b"CoarseGrainedExecutorBackend"


def missing() -> str | None:
    """What is to be installed before Spark runs here."""
    if find_spec("pyspark") is None or find_spec("dbt.adapters.spark") is None:
        return "there is no pyspark or no dbt-spark: pip install kobra-visits[spark]"
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        return "there is no Java: install 17 or 21, such as openjdk-17-jre-headless"
    return None


class Cluster:
    """Its address, and its workers' processes."""

    def __init__(self, url: str, workers: list[subprocess.Popen[bytes]]) -> None:
        self.url = url
        self._workers = workers

    def executors(self) -> list[int]:
        """The processes that compute now."""
        workers = {worker.pid for worker in self._workers}
        return [pid for pid, parent in _java() if parent in workers]

    def kill_an_executor(self) -> None:
        os.kill(self.executors()[0], signal.SIGKILL)


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """All of it is gone at the end."""
    with socket.socket() as free, ExitStack() as running:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        url = f"spark://127.0.0.1:{port}"
        folder.mkdir()
        at = ("--host", "127.0.0.1", "--webui-port", "0")
        running.enter_context(_process(folder, "master.Master", *at, "--port", str(port)))
        share = ("--cores", "1", "--memory", "1g", "--work-dir", str(folder))
        workers = [running.enter_context(_process(folder, "worker.Worker", *at, *share, url)) for _ in range(WORKERS)]
        yield Cluster(url, workers)


@contextmanager
def _process(folder: Path, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    import pyspark  # noqa: PLC0415 - who has none skips

    home = Path(pyspark.__file__).parent
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [home / "bin" / "spark-class", f"org.apache.spark.deploy.{name}", *arguments],
            env=os.environ | LOCAL | {"SPARK_HOME": str(home)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _java() -> Iterator[tuple[int, int]]:
    """Executors on this machine, and the process that started each."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and _EXECUTOR in (entry / "cmdline").read_bytes():
                yield int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
