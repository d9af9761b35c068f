"""What the operator relies on: starting, refusing to start, keys, readiness, figures, logs, several receivers."""

import ast
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import RECEIVER_KEY, RunningReceiver

from receiver import keys, rawstore
from receiver.keys import Keyring
from receiver.settings import Settings, SettingsError

Start = Callable[..., RunningReceiver]

NEW_KEY = "k3y-of-lender-b-000002"


def refusal(tmp_path: Path, **env: str) -> tuple[int, str]:
    """The exit code and stderr of a receiver that should not start."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KOBRA_")}
    command = [sys.executable, "-m", "receiver", "--port", "0"]
    settings = {"KOBRA_HOME": str(tmp_path / "home")} | env
    done = subprocess.run(command, env=clean | settings, capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({}, "KOBRA_API_KEYS"),
        ({"KOBRA_API_KEYS": "lender_a:short"}, "KOBRA_API_KEYS"),
        ({"KOBRA_API_KEYS": "a-key-without-any-source"}, "KOBRA_API_KEYS"),
        ({"KOBRA_API_KEYS": "lender/a:canary-0123456789abcdef"}, "KOBRA_API_KEYS"),
        ({"KOBRA_API_KEYS": "lender_a:canary-ñ-0123456789abcdef"}, "KOBRA_API_KEYS"),
        ({"KOBRA_API_KEYS": "a:canary-0123456789abcdef,b:canary-0123456789abcdef"}, "same key"),
        ({"KOBRA_API_KEYS_FILE": "/nowhere/keys"}, "KOBRA_API_KEYS_FILE"),
        ({"KOBRA_MAX_BODY_BYTES": "1 MiB"}, "KOBRA_MAX_BODY_BYTES"),
        ({"KOBRA_SEGMENT_MAX_BYTES": str(65 << 20)}, "KOBRA_SEGMENT_MAX_BYTES"),
        ({"KOBRA_REQUEST_TIMEOUT_S": "nan"}, "KOBRA_REQUEST_TIMEOUT_S"),
        ({"KOBRA_MAX_IN_FLIGHT_BYTES": "1000"}, "KOBRA_MAX_IN_FLIGHT_BYTES"),
        ({"KOBRA_API_DOCS": "yes"}, "KOBRA_API_DOCS"),
        ({"KOBRA_API_KEYS": f"a:{RECEIVER_KEY}", "KOBRA_HOME": "/proc/nowhere"}, "KOBRA_HOME"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start_in_one_sentence(
    tmp_path: Path, env: dict[str, str], named: str
) -> None:
    code, said = refusal(tmp_path, **env)
    assert code == 2
    assert named in said
    assert said.count("\n") == 1
    assert "canary" not in said


def test_an_empty_environment_is_that_of_the_defaults() -> None:
    assert Settings.from_environ({}) == Settings()


def test_settings_do_not_show_keys() -> None:
    assert RECEIVER_KEY not in repr(Settings(api_keys=f"a:{RECEIVER_KEY}"))


def test_every_key_is_compared_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    honest = keys.compare_digest
    monkeypatch.setattr(keys, "compare_digest", lambda a, b: compared.append(b) or honest(a, b))
    live = keys.parse(",".join(f"s{number}:key-number-{number:06d}" for number in range(5)), "here")
    assert keys.source_of(b"key-number-000000", live) == "s0"
    assert compared == [key.digest for key in live]
    assert keys.source_of(b"key-number-00000\xff", live) is None


def test_a_source_may_have_several_keys_from_both_places(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# rotation\nlender_a:{NEW_KEY}, lender_b:with:colons-000000003\n\n")
    ring = Keyring(Settings(api_keys=f"lender_a:{RECEIVER_KEY}", api_keys_file=file))
    found = [ring.source_of(key.encode()) for key in (RECEIVER_KEY, NEW_KEY, "with:colons-000000003", "other")]
    assert found == ["lender_a", "lender_a", "lender_b", None]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_file_of_keys_is_read_however_an_editor_saved_it(tmp_path: Path, encoding: str, newline: str) -> None:
    file = tmp_path / "keys"
    file.write_bytes(f"lender_a:{RECEIVER_KEY}{newline}# new{newline}lender_b:{NEW_KEY}{newline}".encode(encoding))
    ring = Keyring(Settings(api_keys_file=file))
    assert [ring.source_of(key.encode()) for key in (RECEIVER_KEY, NEW_KEY)] == ["lender_a", "lender_b"]
    assert keys.inspect(Settings(api_keys_file=file))["keys"] == {"lender_a": 1, "lender_b": 1}


def test_files_of_keys_that_were_put_together_are_read(receiver_start: Start, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(f"lender_a:{RECEIVER_KEY}\r\n".encode("utf-8-sig") + f"lender_b:{NEW_KEY}".encode("utf-8-sig"))
    receiver = receiver_start(KOBRA_API_KEYS="\ufeff ", KOBRA_API_KEYS_FILE=str(file))
    assert [receiver.post(b"{}", api_key=key).status for key in (RECEIVER_KEY, NEW_KEY)] == [200, 200]


def test_keys_change_through_their_file_without_a_restart(receiver_start: Start, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"lender_a:{RECEIVER_KEY}\n")
    receiver = receiver_start(KOBRA_API_KEYS="", KOBRA_API_KEYS_FILE=str(file))

    def statuses() -> tuple[int, int]:
        time.sleep(1.1)
        return receiver.post(b"{}").status, receiver.post(b"{}", api_key=NEW_KEY).status

    assert statuses() == (200, 401)
    file.write_text(f"lender_b:{NEW_KEY}\n")
    assert statuses() == (401, 200)
    file.write_text("lender_c:canary")
    assert statuses() == (401, 200)
    file.unlink()
    assert statuses() == (401, 200)
    receiver.stop()
    assert [line["event"] for line in receiver.log].count("keys_not_reloaded") == 2
    assert "canary" not in str(receiver.log)
    assert {delivery.source for delivery in receiver.landed()} == {"lender_a", "lender_b"}


def test_figures_count_what_became_of_every_delivery(receiver: RunningReceiver) -> None:
    for body in (b"{}", b'{"a":1}', b"[]"):
        receiver.post(body)
    receiver.post(b"{}", api_key="wrong-wrong-wrong-wrong")
    figures = receiver.request("GET", "/metrics").body.decode()
    for line in (
        'kobra_deliveries_total{outcome="stored"} 2.0',
        'kobra_deliveries_total{outcome="not_an_object"} 1.0',
        'kobra_deliveries_total{outcome="unauthorized"} 1.0',
        "kobra_received_bytes_total 11.0",
        "kobra_sync_seconds_count 3.0",
        "kobra_batch_size_sum 3.0",
        "kobra_ready 1.0",
    ):
        assert line in figures
    assert "kobra_open_segment_age_seconds 0." in figures
    assert "kobra_free_bytes" in figures
    assert RECEIVER_KEY not in figures


@contextmanager
def not_writable(partition: Path) -> Iterator[None]:
    """Nothing can be created in it, not even by root."""
    partition.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["chattr", "+i", partition], check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as why:
        pytest.skip(f"needs chattr, root and a file system that knows it: {why}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", partition], check=True)


def readiness(receiver: RunningReceiver) -> tuple[int, str]:
    """What /readyz says, and what /metrics does."""
    (gauge,) = re.findall(r"^kobra_ready (.*)$", receiver.request("GET", "/metrics").body.decode(), re.M)
    return receiver.request("GET", "/readyz").status, gauge


def test_a_receiver_is_ready_exactly_when_it_could_store(receiver_start: Start) -> None:
    receiver = receiver_start(KOBRA_SEGMENT_MAX_AGE_S="0.2")
    today = receiver.raw / f"{rawstore.PARTITION}{datetime.now(UTC).date()}"
    assert readiness(receiver) == (200, "1.0")
    with not_writable(today):
        time.sleep(1.1)
        assert readiness(receiver) == (503, "0.0")  # before anybody was refused
        for _ in range(3):
            assert receiver.post(b"{}").status == 503
            assert readiness(receiver) == (503, "0.0")
            time.sleep(1.1)
            assert readiness(receiver) == (503, "0.0")
    time.sleep(1.1)
    assert readiness(receiver) == (200, "1.0")
    assert receiver.post(b"{}").status == 200
    assert list(today.glob(".*")) == []


def test_a_receiver_that_cannot_store_when_it_starts_is_not_ready(receiver_start: Start, tmp_path: Path) -> None:
    with not_writable(tmp_path / "home" / "raw" / f"{rawstore.PARTITION}{datetime.now(UTC).date()}"):
        receiver = receiver_start()
        assert readiness(receiver) == (503, "0.0")
        assert receiver.post(b"{}").status == 503
    time.sleep(1.3)
    assert readiness(receiver) == (200, "1.0")


def test_figures_are_kept_in_memory_whatever_the_environment_says(receiver_start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    receiver = receiver_start(PROMETHEUS_MULTIPROC_DIR=str(folder))
    assert receiver.post(b"{}").status == 200
    assert 'outcome="stored"} 1.0' in receiver.request("GET", "/metrics").body.decode()
    assert list(folder.iterdir()) == []


def test_logs_and_answers_hold_nothing_of_what_was_sent(receiver: RunningReceiver) -> None:
    said = [
        receiver.post(b'{"client":"canary"}').body,
        receiver.post(b"canary").body,
        receiver.post(b"{}", api_key="canary-canary-canary").body,
        receiver.post(b"canary", content_encoding="canary").body,
        receiver.request("GET", "/canary?canary=1").body,
        receiver.request("CANARY", "/webhooks/visits").body,
        receiver.say(b"GET /canary HTTP/1.1\r\ncanary\r\n\r\n"),
        receiver.say(b"POST /webhooks/visits HTTP/1.1\r\nContent-Length: canary\r\n\r\n"),
    ]
    assert receiver.stop() == 0
    assert b"canary" not in b"".join(said).lower()
    assert "canary" not in str(receiver.log).lower()
    assert all({"ts", "level", "event"} <= line.keys() for line in receiver.log)


def test_two_receivers_share_a_home_without_touching_each_other(receiver_start: Start) -> None:
    first, second = receiver_start(), receiver_start()
    assert first.post(b'{"a":1}').status == second.post(b'{"b":2}').status == 200
    assert len(list(first.raw.glob("*/*.open"))) == 2
    assert (first.stop(), second.stop()) == (0, 0)
    assert len(first.landed()) == 2


def test_files_and_folders_are_for_their_owner_alone(receiver: RunningReceiver) -> None:
    receiver.post(b"{}")
    for path in [receiver.home, *receiver.home.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_receiver_starts_within_a_second_and_rests_when_idle(receiver_start: Start) -> None:
    receiver_start().stop()  # compiles what is not compiled yet
    began = time.monotonic()
    receiver = receiver_start()
    assert receiver.request("GET", "/healthz").status == 200
    assert time.monotonic() - began < 2  # 1 on a machine of its own

    def ticks() -> int:
        fields = Path(f"/proc/{receiver.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    time.sleep(0.5)
    before = ticks()
    time.sleep(2)
    assert ticks() - before <= 4  # hundredths of a second


def test_the_receiver_knows_nobody() -> None:
    code = "import receiver.server, receiver.app, receiver.http_guard, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"dlt", "duckdb", "pandas", "pyarrow", "numpy", "pipelines", "h11"}
    assert "fastapi" in loaded


def test_settings_and_the_store_load_without_the_web() -> None:
    code = "import receiver.settings, receiver.rawstore, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"fastapi", "uvicorn", "prometheus_client"} & set(done.stdout.split())


def test_only_settings_reads_the_environment_and_only_at_the_edges() -> None:
    allowed = {"__main__.py", "server.py"}  # which hand os.environ to Settings
    for module in Path(keys.__file__).parent.rglob("*.py"):
        names = {node.attr for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Attribute)}
        assert module.name in allowed or not names & {"environ", "getenv"}, module


def test_ids_and_order_survive_a_clock_that_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([5_000_000_000, 5_000_001_000, 1_000_000_000, 1_000_000_000, 9_000_000_000])
    monkeypatch.setattr("receiver.rawstore.record.time_ns", lambda: next(clock) * 1000)
    stamps = rawstore.Stamps()
    ids, times = zip(*(stamps.next() for _ in range(5)), strict=True)
    assert list(ids) == sorted(set(ids))
    assert times[2] < times[0]


def test_a_bad_default_is_no_default(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        Keyring(replace(Settings(home=tmp_path), api_keys=""))
