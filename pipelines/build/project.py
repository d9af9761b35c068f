"""The dbt project in `sql/`: what it is made of, and the project as dbt parsed it."""

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

PROJECT = Path(__file__).parents[2] / "sql"
_READ_BY_DBT = {".sql", ".py", ".yml", ".yaml", ".csv", ".md"}
_MAKE_NO_TABLE = {"target", "logs", "unit_tests"}  # what dbt wrote for an analyst, and what a build leaves out
_VARS = "{is_as_last_built: true, unit_tests: false}"


def fingerprint() -> str:
    """A digest of all that makes the tables: another one makes other tables, and then history is built afresh."""
    digest = sha256(version("duckdb").encode())
    for module in ("build/inputs", "build/pivot", "load/rules", "build/wide"):
        digest.update(Path(__file__).parents[1].joinpath(f"{module}.py").read_bytes())
    for path in _files():
        digest.update(b"%s\0%s\0" % (path.relative_to(PROJECT).as_posix().encode(), path.read_bytes()))
    return digest.hexdigest()


def _files() -> list[Path]:
    read = sorted(path for path in PROJECT.rglob("*") if path.suffix in _READ_BY_DBT)
    return [path for path in read if path.relative_to(PROJECT).parts[0] not in _MAKE_NO_TABLE]


def flags(target: Path) -> Sequence[str]:
    """How dbt is told to take the project: what it writes goes to `target`, nothing goes anywhere else."""
    return [
        *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
        *("--target-path", str(target), "--log-path", str(target)),
        *("--log-level", "none", "--log-level-file", "none", "--quiet", "--no-version-check", "--no-write-json"),
        "--no-send-anonymous-usage-stats",
        *("--vars", _VARS),
    ]


def parsed(target: Path) -> "Manifest":
    """The project as dbt parsed it, once for all homes: that takes most of dbt's start.

    dbt itself keeps that in `target`, for one database. Raises what dbt raises on a project that does not parse.
    """
    key = _key()
    kept = _read(key)
    return _parse(key, target) if kept is None else kept


def _parse(key: str, target: Path) -> "Manifest":
    from dbt.cli.main import dbtRunner  # noqa: PLC0415 - takes a second; a run with nothing to do never gets here

    answer = dbtRunner().invoke(["parse", *flags(target)])
    if answer.exception is not None:
        raise answer.exception
    if _key() == key and not _reads_environment():
        # Like Python's bytecode: where it cannot be kept, it is made again.
        with suppress(OSError):
            _keep(key, (target / "partial_parse.msgpack").read_bytes())
    return answer.result


def _reads_environment() -> bool:
    """Whether an analyst's model may parse otherwise the next time. What the profile reads, no model sees."""
    return any(b"env_var(" in path.read_bytes() for path in _files() if path.name != "profiles.yml")


def _key() -> str:
    packages = [version(package) for package in ("dbt-core", "dbt-common", "dbt-adapters", "dbt-duckdb")]
    return " ".join([fingerprint(), *packages, str(PROJECT), _VARS])


def _kept() -> Path:
    return PROJECT / "target" / "parsed_for_kobra.msgpack"


def _seal(key: str, content: bytes) -> bytes:
    return sha256(key.encode() + content).digest()


def _keep(key: str, content: bytes) -> None:
    _kept().parent.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=_kept().parent) as folder:
        new = Path(folder, "new")
        new.write_bytes(_seal(key, content) + content)
        new.replace(_kept())


def _read(key: str) -> "Manifest | None":
    """None when none was kept, or that of another project, or not whole."""
    try:
        kept = _kept().read_bytes()
    except OSError:
        return None
    seal, content = kept[:32], kept[32:]
    if seal != _seal(key, content):
        return None
    from dbt.contracts.graph.manifest import Manifest  # noqa: PLC0415
    from dbt.parser.manifest import extended_mashumuro_decoder  # noqa: PLC0415

    manifest = Manifest.from_msgpack(content, decoder=extended_mashumuro_decoder)
    manifest.build_flat_graph()  # what macros read as `graph`; dbt does not keep it
    return manifest


def main() -> None:
    """Parse the project now, so that no build has to."""
    with TemporaryDirectory() as target:
        parsed(Path(target))


if __name__ == "__main__":
    main()
