"""A real S3 server (SeaweedFS) in a process of its own, and a way to it that can be cut, stalled or busy."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import obstore
from obstore.store import S3Store

KEYS = {"AWS_ACCESS_KEY_ID": "kobra", "AWS_SECRET_ACCESS_KEY": "kobra-secret", "AWS_REGION": "us-east-1"}
_WEED = Path(sys.executable).with_name("weed")
_SLOW = 100_000  # bytes a second
_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Bucket:
    """A place of its own in a bucket of the server: its URL, the variables by which a process finds it, and what is
    in it."""

    def __init__(self, port: int, name: str) -> None:
        self.url = f"s3://kobra/{name}/raw"
        self.port = port
        self.environ = KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        self.store = S3Store.from_url(
            self.url,
            config={"access_key_id": "kobra", "secret_access_key": "kobra-secret", "region": "us-east-1",
                    "endpoint": f"http://127.0.0.1:{self.port}"},
            client_options={"allow_http": True, "timeout": "10s"},
            retry_config={"max_retries": 0},
        )  # fmt: skip

    def through(self, port: int) -> dict[str, str]:
        """The variables by which a process finds it by another way."""
        return self.environ | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "KOBRA_RAW": self.url}

    @property
    def settings(self) -> dict[str, str]:
        return self.environ | {"KOBRA_RAW": self.url}

    def places(self) -> list[str]:
        """Where segments stand."""
        found = [each["path"] for page in obstore.list(self.store) for each in page]
        return sorted(path for path in found if path.startswith("received_date="))

    def content(self, place: str) -> bytes:
        return bytes(obstore.get(self.store, place).bytes())

    def remove(self, place: str) -> None:
        obstore.delete(self.store, place)

    def put(self, place: str, content: bytes) -> None:
        obstore.put(self.store, place, content)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The port of an S3 server that keeps its data in a folder."""
    port, others = free_port(), [free_port() for _ in range(3)]
    folder.mkdir(exist_ok=True)
    identities = {"identities": [{"name": "kobra", "actions": ["Admin", "Read", "Write", "List"],
                                  "credentials": [{"accessKey": "kobra", "secretKey": "kobra-secret"}]}]}  # fmt: skip
    (folder / "s3.json").write_text(json.dumps(identities))
    command = [
        _WEED, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
        f"-s3.config={folder / 's3.json'}", f"-s3.port={port}", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-volume.max=50", "-master.volumeSizeLimitMB=64",
        *(f"-{name}.port={other}" for name, other in zip(("master", "volume", "filer"), others, strict=True)),
        *(f"-{name}.port.grpc={free_port()}" for name in ("master", "volume", "filer", "s3")),
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        _wait(Bucket(port, "first"), process, folder / "log")
        yield port
    finally:
        process.kill()
        process.wait()


def _wait(bucket: Bucket, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        assert process.poll() is None, log.read_text()[-2000:]
        with suppress(obstore.exceptions.BaseError):
            bucket.put("made", b"")  # and with it the bucket
            return
        time.sleep(0.25)
    raise AssertionError(log.read_text()[-2000:])


class Way:
    """A way to a server. `state`: open · slow (100 kB a second) · cut (nobody listens to what is said) · stalled (no
    answer comes) · busy (every request is answered with 503)."""

    def __init__(self, to: int) -> None:
        self.state = "open"
        self._to = to
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listening.accept()
            Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self.state == "cut":
                return
            if self.state == "busy":
                client.recv(65536)
                client.sendall(_UNAVAILABLE)
                return
            with socket.create_connection(("127.0.0.1", self._to)) as server:
                back = Thread(target=self._pass, args=(server, client), daemon=True)
                back.start()
                self._pass(client, server)
                back.join()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                while self.state == "stalled":
                    time.sleep(0.05)
                if self.state == "slow":
                    time.sleep(len(chunk) / _SLOW)
                elif self.state != "open":
                    break
                sink.sendall(chunk)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
