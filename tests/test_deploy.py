"""What is shipped for running it says what it should: units, proxy, alerts, image, as far as can be told here."""

import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from conftest import RECEIVER_KEY, RunningReceiver, hear

from receiver.json_check import REASONS
from receiver.openapi import PROBLEMS
from receiver.settings import Settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
OPERATE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
Start = Callable[..., RunningReceiver]

needs = {name: pytest.mark.skipif(shutil.which(name) is None, reason=f"needs {name}")
         for name in ("systemd-analyze", "promtool", "nginx", "openssl")}  # fmt: skip


def rules() -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load((DEPLOY / "prometheus/kobra-alerts.yml").read_text())["groups"]
            for rule in group["rules"]]  # fmt: skip


# ---------------------------------------------------------------- units


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A root folder in which the units stand, and what they start."""
    units = tmp_path / "etc/systemd/system"
    shutil.copytree(DEPLOY / "systemd", units)
    kobra = tmp_path / "opt/kobra-visits/.venv/bin/kobra"
    kobra.parent.mkdir(parents=True)
    shutil.copy("/bin/true", kobra)
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    for shipped in (Path("/usr/lib/systemd"), Path("/lib/systemd")):
        if shipped.is_dir() and not (tmp_path / "usr/lib/systemd").exists():
            shutil.copytree(shipped / "system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    return tmp_path


def analyze(installed: Path) -> str:
    units = ["kobra-receiver@8000.service", *(unit.name for unit in UNITS if "@" not in unit.name)]
    command = ["systemd-analyze", "verify", "--man=no", f"--root={installed}", *units]
    done = subprocess.run(command, capture_output=True, text=True, cwd=installed, check=False)
    return done.stdout + done.stderr


@needs["systemd-analyze"]
def test_systemd_finds_nothing_wrong_with_the_units(installed: Path) -> None:
    assert analyze(installed) == ""
    unit = installed / "etc/systemd/system/kobra-run.service"
    unit.write_text(unit.read_text().replace("NoNewPrivileges", "NoNewPrivilege"))
    assert "NoNewPrivilege" in analyze(installed)


@needs["systemd-analyze"]
@pytest.mark.parametrize("unit", [unit.name for unit in UNITS if unit.suffix == ".service"])
def test_systemd_calls_the_units_hardly_exposed(installed: Path, unit: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--root={installed}", "--threshold=15", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_service_runs_as_its_own_user_that_may_change_its_own_folder_alone() -> None:
    for unit in UNITS:
        if unit.suffix == ".service":
            lines = unit.read_text().splitlines()
            for line in ("User=kobra", "UMask=0077", "ProtectSystem=strict", "ReadWritePaths=/var/lib/kobra",
                         "NoNewPrivileges=yes", "PrivateTmp=yes", "CapabilityBoundingSet="):  # fmt: skip
                assert line in lines, (unit.name, line)
            assert any(line.startswith("MemoryMax=") for line in lines)


def test_the_receiver_has_time_to_close_its_segment() -> None:
    (stops,) = re.findall(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "systemd/kobra-receiver@.service").read_text(), re.M)
    assert int(stops) >= Settings().request_timeout_s + 5


# ---------------------------------------------------------------- alerts


@needs["promtool"]
def test_promtool_takes_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", DEPLOY / "prometheus/kobra-alerts.yml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{len(rules())} rules found" in done.stdout


@needs["promtool"]
def test_every_alert_calls_when_it_should_and_is_quiet_when_not() -> None:
    cases = ROOT / "tests" / "alerts.yml"
    done = subprocess.run(["promtool", "test", "rules", cases], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = [each for test in yaml.safe_load(cases.read_text())["tests"] for each in test["alert_rule_test"]]
    for rule in rules():
        assert {bool(each["exp_alerts"]) for each in tried if each["alertname"] == rule["alert"]} == {True, False}


def test_the_alerts_speak_of_figures_that_exist(receiver_start: Callable[..., RunningReceiver]) -> None:
    receiver = receiver_start(KOBRA_RAW="s3://kobra/raw", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    figures = receiver.request("GET", "/metrics").body.decode()
    printed = set(re.findall(r"^(\w+)[ {]", figures, re.M))
    named = {name for rule in rules() for name in re.findall(r"\bkobra_\w+", str(rule["expr"]))}
    assert named
    assert named - printed == set()


def test_the_alerts_speak_of_outcomes_and_reasons_that_exist() -> None:
    known = {each.code for each in PROBLEMS} | set(REASONS) | {"stored", "evicted", "disconnected"}
    named = re.findall(r'(?:outcome|reason)=~?"([^"]+)"', str(rules()))
    assert {name for names in named for name in names.split("|")} - known == set()


def test_what_the_alerts_count_is_counted_from_0_on(receiver: RunningReceiver) -> None:
    """What first appears as 1 is no increase: one delivery that was not stored would call nobody."""
    figures = receiver.request("GET", "/metrics").body.decode()
    named = re.findall(r'(kobra_\w+)\{(outcome|reason)=~?"([^"]+)"', str(rules()))
    counted = {f'{figure}{{{label}="{name}"}} 0.0' for figure, label, names in named for name in names.split("|")}
    assert counted - set(figures.splitlines()) == set()


def test_every_alert_is_explained() -> None:
    explained = re.findall(r"^\| `(Kobra\w+)` \|", OPERATE, re.M)
    assert explained == [rule["alert"] for rule in rules()]


# ---------------------------------------------------------------- proxies


class Proxy:
    """A proxy with TLS in front of receivers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.tls = ssl.create_default_context()
        self.tls.check_hostname = False
        self.tls.verify_mode = ssl.CERT_NONE

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return self.tls.wrap_socket(plain, server_hostname="visits.example.com")

    def request(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("visits.example.com")
        connection.sock = self.connect()
        try:
            sent = {"api-key": RECEIVER_KEY} | {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


def configured(text: str, *changes: tuple[str, str]) -> str:
    """A shipped configuration with a test's own ports and files; each change has to find what it changes."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def nginx(folder: Path, ports: list[int]) -> tuple[int, list[str]]:
    port = free_port()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=visits.example.com", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    shipped = configured(
        (DEPLOY / "nginx.conf").read_text(),
        ("127.0.0.1:8000", f"127.0.0.1:{ports[0]}"),
        ("127.0.0.1:8001", f"127.0.0.1:{ports[1]}"),
        ("    listen 443 ssl;\n    listen [::]:443 ssl;\n", f"    listen 127.0.0.1:{port} ssl;\n"),
        ("/etc/ssl/visits.example.com/fullchain.pem", str(folder / "cert.pem")),
        ("/etc/ssl/visits.example.com/privkey.pem", str(folder / "key.pem")),
        ("client_header_timeout 10s", "client_header_timeout 1s"),
        ("client_body_timeout   10s", "client_body_timeout   1s"),
    )
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nworker_processes 1;\n"
        f"{'user root;' if os.geteuid() == 0 else ''}\nevents {{}}\n"
        f"http {{\naccess_log {folder}/access.log;\n{temporary}{shipped}}}\n"
    )  # fmt: skip
    return port, ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


@contextmanager
def running(proxy: tuple[int, list[str]], folder: Path) -> Iterator[Proxy]:
    port, command = proxy
    environ = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    log = (folder / "log").open("w+")
    with log, subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + 15
            while True:
                assert process.poll() is None, Path(log.name).read_text()
                with suppress(OSError):
                    Proxy(port).connect().close()
                    break
                assert time.monotonic() < deadline, Path(log.name).read_text()
                time.sleep(0.05)
            yield Proxy(port)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@needs["nginx"]
@needs["openssl"]
def test_behind_the_proxy_only_the_hook_answers_and_limits_and_deadlines_hold(
    receiver_start: Start, tmp_path: Path
) -> None:
    folder = tmp_path / "proxy"
    folder.mkdir()
    first, second = receiver_start(), receiver_start()
    with running(nginx(folder, [first.port, second.port]), folder) as proxy:
        # what goes through, and what does not
        status, said = proxy.request("POST", "/webhooks/visits", b'{"visitID":"1"}')
        assert (status, b"stored" in said) == (200, True)
        assert proxy.request("POST", "/webhooks/visits/", b"{}")[0] == 200
        assert proxy.request("POST", "/webhooks/visits", iter([b'{"visit', b'ID":"2"}']))[0] == 200
        assert proxy.request("POST", "/webhooks/visits", b"{}", api_key="x" * 20)[0] == 401
        assert proxy.request("POST", "/webhooks/visits", b"{")[0] == 400
        assert proxy.request("GET", "/webhooks/visits")[0] == 405
        assert {proxy.request("GET", path)[0] for path in ("/", "/metrics", "/readyz", "/healthz")} == {404}
        assert proxy.request("POST", "/metrics")[0] == 404

        # the receiver's own limit, and the proxy's for what is far beyond
        allowed = b'{"a":"%b"}' % (b"x" * ((1 << 20) - 8))
        assert len(allowed) == 1 << 20
        assert proxy.request("POST", "/webhooks/visits", allowed)[0] == 200
        status, said = proxy.request("POST", "/webhooks/visits", allowed + b" ")
        assert (status, b"1048576" in said) == (413, True)
        with proxy.connect() as conversation:
            head = f"POST /webhooks/visits HTTP/1.1\r\nHost: visits.example.com\r\napi-key: {RECEIVER_KEY}\r\n"
            conversation.sendall(f"{head}Content-Length: 2000000\r\n\r\n".encode() + b"x" * 1_200_000)
            assert b"413" in conversation.recv(4096).splitlines()[0]

        # a client that asks before it sends
        with proxy.connect() as conversation:
            conversation.sendall(f"{head}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n".encode())
            assert conversation.recv(4096).splitlines()[0] == b"HTTP/1.1 100 Continue"
            conversation.sendall(b"{}")
            assert conversation.recv(4096).splitlines()[0] == b"HTTP/1.1 200 OK"

        # deadlines
        half = f"{head}Content-Length: 9\r\n\r\n{{".encode()
        for wire, ends in ((b"POST /webhooks/visits HTTP/1.1\r\n", False), (half, False), (half, True)):
            began = time.monotonic()
            with proxy.connect() as conversation:
                conversation.sendall(wire)
                if ends:
                    socket.socket.shutdown(conversation, socket.SHUT_WR)  # not TLS
                answer = hear(conversation)
            assert time.monotonic() - began < 8
            # Some proxies answer 200 by themselves where a body breaks off.
            assert answer[:12] in (b"", b"HTTP/1.1 408", b"HTTP/1.1 400")

        # one receiver restarts: the other takes it; both are gone: 503, and that is no 2xx
        first.kill()
        assert [proxy.request("POST", "/webhooks/visits", b"{}")[0] for _ in range(5)] == [200] * 5
        second.stop()
        status, said = proxy.request("POST", "/webhooks/visits", b"{}")
        assert (status, b"not_stored" in said) == (503, True)
    assert RECEIVER_KEY not in (folder / "access.log").read_text() + (folder / "error.log").read_text()


# ---------------------------------------------------------------- images and settings


def test_the_image_takes_in_what_it_copies_and_nothing_that_is_ignored() -> None:
    lines = (DEPLOY / "Containerfile").read_text() + (DEPLOY / "scale" / "Containerfile").read_text()
    copied = set(re.findall(r"^COPY (?!--from)(.*) \S+$", lines, re.M))
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name for names in copied for name in names.split()} == allowed
    assert all((ROOT / name).exists() for name in allowed)


def test_the_image_installs_what_is_pinned_by_hash_and_runs_as_nobody_special() -> None:
    lines = (DEPLOY / "Containerfile").read_text()
    assert "--require-hashes --no-deps -r requirements.lock" in lines
    assert re.findall(r"^USER (.*)$", lines, re.M) == ["kobra"]
    needed_by_tests = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    removed = set(re.search(r"uninstall --quiet --yes (.*) \\", lines)[1].split())  # type: ignore[index]
    assert removed == {name.partition(">")[0] for name in needed_by_tests} - {"websockets"}  # which marimo needs, too


def test_compose_runs_both_parts_on_one_volume_without_privileges() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yml").read_text())["services"]
    assert set(services) == {"receiver", "run"}
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "kobra:/var/lib/kobra" in service["volumes"]
        assert service["mem_limit"]
    assert services["run"]["network_mode"] == "none"
    assert services["receiver"]["ports"] == ["127.0.0.1:8000:8000"]


def test_compose_of_several_machines_shares_a_store_a_lake_and_spark() -> None:
    services = yaml.safe_load((DEPLOY / "scale" / "compose.yml").read_text())["services"]
    ours = {name: each for name, each in services.items() if str(each["image"]).startswith("kobra-visits")}
    assert set(services) - set(ours) == {"postgres", "s3"}
    for service in ours.values():
        assert service["environment"]["KOBRA_RAW"] == "s3://kobra/raw"
        assert service["cap_drop"] == ["ALL"]
    assert ours["run"]["environment"].keys() >= {"KOBRA_WAREHOUSE", "KOBRA_WAREHOUSE_FILES"}
    assert {name for name in ours if ours[name].get("profiles")} == {"spark-master", "spark-worker", "spark-run"}
    for port in (port for each in services.values() for port in each.get("ports", [])):
        assert port.startswith("127.0.0.1:")


def test_the_settings_that_are_shipped_are_settings() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shipped = (DEPLOY / "kobra.env").read_text() + (DEPLOY / "scale" / "compose.yml").read_text()
    for name in re.findall(r"^#? *(KOBRA_\w+)[=:]", shipped, re.M):
        assert f"`{name}`" in readme


# ---------------------------------------------------------------- dependencies


def test_every_package_is_pinned_by_hash_and_none_is_installed_without() -> None:
    pinned = re.compile(r"[\w.-]+==\S+[^\n]*\n    --hash=sha256:[0-9a-f]{64}\b")
    for lock in ("requirements.lock", "requirements-spark.lock"):
        packages = re.split(r"^(?=\S)", (ROOT / lock).read_text(), flags=re.M)[1:]
        assert len(packages) > 100
        assert [each for each in packages if not pinned.match(each)] == []
    for file in ("Makefile", "deploy/Containerfile", "deploy/scale/Containerfile"):
        installs = [line for line in (ROOT / file).read_text().splitlines() if "pip install" in line]
        ours = [line for line in installs if not re.search(r"-e \.|--no-deps \.|\.venv-peers", line)]
        assert ours
        assert all(
            re.search(r"--require-hashes --no-deps -r (/tmp/)?requirements(-spark)?\.lock", line) for line in ours
        )


def test_every_dependency_has_its_reason() -> None:
    listed = re.findall(
        r"\[\n(.*?)\n\]", (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[0], re.S
    )
    lines = [line.strip() for block in listed for line in block.splitlines()]
    assert len(lines) > 20
    with_reason = [
        ("# " in line or before.startswith("# ")) for line, before in zip(lines, ["", *lines], strict=False)
    ]
    assert [line for line, has_reason in zip(lines, with_reason, strict=True) if not has_reason] == []
