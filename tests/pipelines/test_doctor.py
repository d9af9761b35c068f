"""The doctor finds what is set up wrong, says how to mend it, and repeats no key."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kobra_home import Home, kobra, small

from pipelines.operate import doctor
from pipelines.settings import Settings
from pipelines.warehouse.home import Home as Files
from pipelines.warehouse.lock import lock
from receiver import keys

STRONG = "9f8e1c07b2d4465aa35e60f1d7c8b92e"
KEYS = {"KOBRA_API_KEYS": f"lender_a:{STRONG}"}
FILE_SYSTEM = doctor._kind(Path())  # where the tests run; in memory it is wrong, and rightly so


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home of before the first run."""
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    return Home(path)


class Examined:
    """What the doctor said."""

    def __init__(self, path: Path, **environ: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (KEYS | environ | {"KOBRA_HOME": str(path)}).items():
                patch.setenv(name, value)
            settings = Settings.from_environ(os.environ)
            findings = list(doctor.examine(Files(path), settings))
        self._take("".join(finding.line() + "\n" for finding in findings))

    @classmethod
    def by_command(cls, path: Path, **environ: str) -> "Examined":
        """What the command prints, in a process of its own."""
        said = cls.__new__(cls)
        done = kobra(path, "doctor", **(KEYS | environ))
        assert done.stderr == ""
        said._take(done.stdout)
        assert done.returncode == (1 if "WRONG" in done.stdout else 0)
        return said

    def _take(self, printed: str) -> None:
        self.text = printed
        lines = [re.fullmatch(r"(ok|WRONG) +(\w+(?: \w+)?)  +(.*)", line) for line in printed.splitlines()]
        self.found = [(found[2], found[3]) for found in lines if found and found[1] == "WRONG"]
        self.checks = {found[2] for found in lines if found}
        if FILE_SYSTEM in doctor._IN_MEMORY:
            self.found = [each for each in self.found if each[0] != "file system"]
        assert None not in lines

    @property
    def only(self) -> tuple[str, str]:
        (found,) = self.found
        return found


def test_what_is_set_up_well_is_well_and_nothing_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "home"
    home = Home(path)
    home.land(small("1"))
    assert home.kobra("load").returncode == 0
    before = {each: each.lstat().st_mtime_ns for each in path.rglob("*")}
    said = Examined.by_command(path)
    assert said.found == []
    assert said.checks == {
        "keys", "home", "owner", "permissions", "mappings", "inputs", "clock", "disk", "inodes", "file system",
        "versions", "raw store", "working", "published", "leftovers",
    }  # fmt: skip
    assert "lender_a (1)" in said.text
    assert STRONG not in said.text
    assert {each: each.lstat().st_mtime_ns for each in path.rglob("*")} == before


def test_a_home_that_is_not_there_yet_is_well_where_it_can_be_made(tmp_path: Path) -> None:
    assert Examined(tmp_path / "a" / "b").found == []
    (tmp_path / "file").touch()
    for nowhere in (tmp_path / "file", tmp_path / "file" / "b"):
        assert Examined(nowhere).only[0] == "home"


@pytest.mark.parametrize(("environ", "named"), [
    ({"KOBRA_API_KEYS": ""}, "No key is configured"),
    ({"KOBRA_API_KEYS": "lender_a:canary"}, "too short"),
    ({"KOBRA_API_KEYS": "canary"}, "no colon"),
    ({"KOBRA_API_KEYS_FILE": "/nowhere/keys"}, "KOBRA_API_KEYS_FILE"),
    ({"KOBRA_MAX_BODY_BYTES": "much"}, "KOBRA_MAX_BODY_BYTES"),
    ({"KOBRA_API_KEYS": f"a:{STRONG},b:canary-canary-canary"}, "item 2 of KOBRA_API_KEYS"),
])  # fmt: skip
def test_settings_that_the_receiver_would_refuse_or_a_stranger_could_guess(
    home: Home, environ: dict[str, str], named: str
) -> None:
    said = Examined.by_command(home.path, **environ)
    assert named in said.only[1]
    assert "canary" not in said.text
    assert STRONG not in said.text


@pytest.mark.parametrize("key", [
    "aaaaaaaaaaaaaaaa", "abcabcabcabcabcabc", "abcdefghijklmnop", "1234567890123456", "the-key-that-you-gave-kobra",
    "MySecretWebhookKey", "abcdefgh-abcdefgh-abcdefgh-",
])  # fmt: skip
def test_a_key_that_can_be_guessed_is_weak(key: str) -> None:
    assert len(keys.weaknesses(f"a:{key}", "here")) == 1


def test_no_random_key_is_weak() -> None:
    made = [os.urandom(32).hex() for _ in range(2000)]
    assert keys.weaknesses("\n".join(f"a:{key}" for key in made), "here") == []


def test_every_key_in_the_documents_is_weak() -> None:
    pages = [doctor.LOCK_FILE.with_name("README.md"), *(doctor.LOCK_FILE.parent / "docs").glob("*.md")]
    shown = {key for page in pages for key in re.findall(r"api-key: ([\w-]{16,})", page.read_text())}
    assert shown
    assert len(keys.weaknesses("\n".join(f"a:{key}" for key in shown), "here")) == len(shown)


def test_a_keys_file_that_others_may_read(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"lender_b:{STRONG[::-1]}\n")
    file.chmod(0o644)
    said = Examined(home.path, KOBRA_API_KEYS_FILE=str(file))
    assert said.only == ("keys file", f"others may read it or change it (mode 644): chmod 640 {file}")
    assert "lender_a (1), lender_b (1)" in said.text
    mend(said)
    assert Examined(home.path, KOBRA_API_KEYS_FILE=str(file)).found == []


def mend(said: Examined) -> None:
    """Type the remedy behind the last colon."""
    subprocess.run(["sh", "-c", said.only[1].rpartition(": ")[2]], check=True)


def test_files_that_others_may_read_are_named_with_a_remedy_that_works(home: Home) -> None:
    home.land(small("1"))
    for path in home.raw.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    said = Examined(home.path)
    assert said.only[0] == "permissions"
    mend(said)
    assert Examined(home.path).found == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_of_another_user_are_named_with_a_remedy_that_works(home: Home) -> None:
    home.land(small("1"))
    os.chown(home.segments()[0], 65534, 65534)
    said = Examined(home.path)
    assert said.only[0] == "owner"
    mend(said)
    assert Examined(home.path).found == []
    os.chown(home.path, 65534, 65534)
    assert Examined(home.path).only[0] == "owner"


def test_every_fault_of_the_mappings_is_told_with_its_line(home: Home) -> None:
    home.kobra("mappings", "init")
    settings = home.path / "mappings" / "settings.csv"
    text = settings.read_text()
    settings.write_text(text.replace("late_hours,24", "late_hours,soon").replace("episode_days,30", "episode_days,"))
    said = Examined(home.path)
    assert [check for check, _ in said.found] == ["mappings"] * 2
    assert [told.partition(":")[0] for _, told in said.found] == ["settings.csv line 6", "settings.csv line 14"]


def test_inputs_that_cannot_be_read_and_those_of_which_no_row_can_be_used(home: Home) -> None:
    folder = home.path / "inputs"
    folder.mkdir(mode=0o700)
    for name, text in (
        ("payments.csv", "payment_id,external_id,paid_date\n1,2,3\n"),
        ("accounts.csv", "external_id,as_of_date\nA,soon\n"),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    said = Examined(home.path)
    assert said.found[0][1].startswith("payments.csv line 1: missing here: amount")
    assert said.found[1][1].startswith("accounts.csv: none of 1 rows can be used")
    (folder / "accounts.csv").write_text("external_id,as_of_date\nA,2026-01-31\nB,soon\n")
    said = Examined(home.path)
    assert len(said.found) == 1
    assert "accounts.csv: 1 of 2 rows used, 1 with a fault" in said.text


def test_a_clock_that_was_set_back(home: Home) -> None:
    home.land(small("1"))
    ahead = time.time() + 3600
    os.utime(home.segments()[0], (ahead, ahead))
    check, told = Examined(home.path).only
    assert check == "clock"
    assert "in the future" in told


def test_a_clock_that_was_never_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead(doctor.datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Dead":
            return cls(1970, 1, 1, 0, 5, tzinfo=doctor.UTC)

    monkeypatch.setattr(doctor, "datetime", Dead)
    (finding,) = doctor._clock(tmp_path)
    assert not finding.is_well
    assert "1970-01-01" in finding.told


def test_a_disk_below_the_receivers_floor(home: Home) -> None:
    assert Examined(home.path, KOBRA_MIN_FREE_BYTES=str(1 << 60)).only[0] == "disk"


@pytest.mark.parametrize(("kind", "is_well"), [
    ("ext4", True), ("xfs", True), ("zfs", True), ("fuseblk", True), ("nfs4", False), ("cifs", False),
    ("fuse.sshfs", False), ("9p", False), ("tmpfs", False),
])  # fmt: skip
def test_a_file_system_that_keeps_no_locks_or_no_data(tmp_path: Path, kind: str, is_well: bool) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:5 / /srv/with\\040space rw shared:1 - " + kind + " x rw\n"
    )
    assert doctor._kind(Path("/srv/with space/kobra"), mounts) == kind
    assert doctor._kind(Path("/srv/withspace"), mounts) == "ext4"
    assert doctor._kind(Path("/srv"), tmp_path / "nowhere") == "unknown"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor, "_kind", lambda _: kind)
        assert [finding.is_well for finding in doctor._file_system(tmp_path)] == [is_well]


def test_versions_other_than_the_tested_ones(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    pinned = doctor.LOCK_FILE.read_text()
    lock.write_text(re.sub(r"(?m)^duckdb==\S+", "duckdb==1.2.3", pinned))
    (finding,) = doctor._versions(lock)
    assert not finding.is_well
    assert "(tested: 1.2.3)" in finding.told
    (finding,) = doctor._versions(doctor.LOCK_FILE)
    assert finding.is_well, finding
    assert next(doctor._versions(tmp_path / "none")).is_well  # from a wheel there is nothing to compare with


def test_the_main_versions_are_pinned() -> None:
    pinned = re.findall(r"^([\w.-]+)==", doctor.LOCK_FILE.read_text(), re.M)
    assert set(doctor._MAIN) <= set(pinned)


@pytest.fixture
def leave(home: Home) -> Callable[[str], Path]:
    def leave(name: str) -> Path:
        path = home.path / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.parent.chmod(0o700)
        path.touch(mode=0o600)
        return path

    return leave


@pytest.mark.parametrize("name", [
    "raw/received_date=2026-03-01/1.torn", "raw/received_date=2026-03-01/20260301T120000000000Z.jsonl.open",
    "raw/received_date=2026-03-01/1.zst.new", "raw/received_date=2026-03-01/1.erasing",
    "warehouse/loading-abc", "warehouse/.rewriting.duckdb", "warehouse/.publishing.duckdb",
    "warehouse/.publishing.duckdb.wal", "warehouse/taken.new",
])  # fmt: skip
def test_what_was_left_behind_is_named(home: Home, leave: Callable[[str], Path], name: str) -> None:
    path = leave(name)
    check, told = Examined(home.path).only
    assert check == "leftovers"
    assert str(path) in told


def test_files_of_a_run_that_is_under_way_are_no_leftovers(home: Home, leave: Callable[[str], Path]) -> None:
    leave("warehouse/loading-abc")
    with lock(home.files):
        assert Examined(home.path).found == []
    assert Examined(home.path).only[0] == "leftovers"


def test_a_segment_that_is_being_written_is_no_leftover(home: Home) -> None:
    code = (
        "import sys; from datetime import date; from pathlib import Path; from receiver import rawstore;"
        "writer = rawstore.Landing(Path(sys.argv[1])); writer.append(date(2026, 3, 1), [b'x']); print(flush=True);"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", f"import os; os.umask(0o077); {code}", str(home.raw)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert Examined(home.path).found == []
        writer.kill()
    assert Examined(home.path).only[0] == "leftovers"
