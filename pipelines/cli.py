"""The command `kobra`: a thin skin over functions. Exit codes: 0 fine, 1 something failed, 2 usage, 75 busy."""

import argparse
import errno
import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import FaultError, UsageError
from pipelines.load import crash_guard
from pipelines.settings import Settings
from pipelines.terminal import speak_any_encoding
from pipelines.warehouse.home import Home
from pipelines.warehouse.lake import Lake
from pipelines.warehouse.lock import BusyError, lock
from receiver import rawstore

if TYPE_CHECKING:
    from pipelines.load.load import Loaded
    from pipelines.privacy.forget import Persons
    from pipelines.publish.published import Attach
    from pipelines.warehouse.state import Brought

_SHOWN = 10  # of many
OK, FAILED, USAGE, BUSY = 0, 1, 2, 75  # 75 is EX_TEMPFAIL of sysexits.h


def entry() -> int:
    """The command as it is installed. One that reads bodies has a process of its own, as a body may end it."""
    options = _parser().parse_args()
    try:
        home = _home(Settings.from_environ(os.environ))
    except UsageError as why:
        return _failed(why)
    if options.command not in (_run, _load, _import, _forget, _retain) or _has_nothing_to_do(home, options):
        return _execute(options)
    return crash_guard.guarded(home.warehouse, lambda: _execute(options))


def main(arguments: list[str] | None = None) -> int:
    """Run one command and give back its exit code."""
    return _execute(_parser().parse_args(arguments))


def _execute(options: argparse.Namespace) -> int:
    os.umask(0o077)
    speak_any_encoding()
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        options.settings = settings = Settings.from_environ(os.environ)
        code: int = options.command(_home(settings), options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read what we print has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes when it ends
        return OK
    except Exception as why:  # noqa: BLE001 - the outermost edge
        return _failed(why)
    return code


def _home(settings: Settings) -> Home:
    return Home(settings.home, settings.raw, Lake.of(settings))


def _failed(why: Exception) -> int:
    """Say what went wrong, and answer with the exit code."""
    print(_sentence(why), file=sys.stderr)
    if isinstance(why, BusyError | UsageError):
        return BUSY if isinstance(why, BusyError) else USAGE
    return FAILED


def _sentence(why: Exception) -> str:
    """What went wrong. Of what is not our own only kind and place are told: its text may quote what was sent."""
    if isinstance(why, BusyError | UsageError):
        return f"kobra: {why}"
    if _is_disk_full(why):
        return "kobra: no space is left on the disk: make room, then run this again; nothing is lost"
    if isinstance(why, FaultError):
        return f"{why}\nkobra: nothing is published; what people read stays as it was"
    reason = f": {why.strerror}" if isinstance(why, OSError) and why.strerror else ""
    place = ", ".join(f"{Path(at.filename).name}:{at.lineno}" for at in traceback.extract_tb(why.__traceback__)[-4:])
    return f"kobra: failed with {type(why).__name__}{reason} (at {place}); nothing is lost, try again"


def _is_disk_full(why: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is that of a full disk."""
    if why is None:
        return False
    is_told = getattr(why, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(why)
    return is_told or _is_disk_full(why.__cause__ or why.__context__)


_Command = Callable[[Home, argparse.Namespace], int]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kobra",
        description="Kobra's visits: received, landed, loaded, published. Everything lives under KOBRA_HOME "
        "(default ./kobra-data).",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, does: str, run: _Command) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=does, description=does[0].upper() + does[1:] + ".")
        added.set_defaults(command=run)
        return added

    serve = command("serve", "receive visits", _serve)
    _where(serve, 8000)

    run = command("run", "load what landed, build the marts on it, publish: the cron line", _run)
    run.add_argument("--every", type=_period, metavar="PERIOD", help="again and again, such as 30s, 5m, 1h")
    run.add_argument(
        "--take-over", action="store_true", help="build a lake in the place of the home that erased persons"
    )
    build = command("build", "build and test the marts in the working file", _build)
    load = command("load", "load what landed into the working file", _load)
    load.add_argument("--retry-rejects", action="store_true", help="read segments with rejects again, after a fix")
    for builder in (run, load):
        builder.add_argument(
            "--accept-loss", action="store_true",
            help="make the working file anew although raw segments of what is published are gone",
        )  # fmt: skip
    for builder in (run, build):
        builder.add_argument("--as-of", type=_day, metavar="DATE", help="the day to speak of (default today)")
        builder.add_argument("--full-refresh", action="store_true", help="build history afresh, not what changed")

    edited = command("mappings", "copy the starting set of mappings and thresholds for editing", _mappings)
    edited.add_argument("action", choices=["init"], help="init: copy to KOBRA_HOME/mappings what is not there yet")

    command("publish", "put a finished copy of the working file under its public name", _publish)

    bring_in = command("import", "bring in history from files, none of it twice", _import)
    bring_in.add_argument("files", nargs="+", type=Path, metavar="FILE", help="NDJSON or JSON, also compressed")
    bring_in.add_argument("--source", type=_source, help="whose deliveries these are, where they do not say so")
    bring_in.add_argument("--dry-run", action="store_true", help="say what would land, and land nothing")

    _personal_data(command)

    sample = command("sample", "invent visits, the same ones for a seed", _sample)
    sample.add_argument("target", metavar="FOLDER|URL", help="folder for sample.ndjson, or a receiver's URL")
    sample.add_argument("--count", type=_count, default=2000, help="deliveries (default %(default)s)")
    sample.add_argument("--seed", type=int, default=1, help="(default %(default)s)")
    sample.add_argument("--source", type=_source, default="demo", help="their source in a file (default %(default)s)")
    sample.add_argument("--key", help="api-key for a URL; default: the environment's KOBRA_SAMPLE_KEY")

    demo = command("demo", "see it all work on invented visits", _demo)
    demo.add_argument("--count", type=_count, default=2000, help="deliveries (default %(default)s)")

    dashboard = command("dashboard", "show the published file as a web app, in English and Spanish", _dashboard)
    _where(dashboard, 8700)
    dashboard.add_argument("--password", help="ask for it; default: the environment's KOBRA_DASHBOARD_PASSWORD")

    export = command("export", "write published tables as Parquet, CSV or XLSX", _export)
    export.add_argument(
        "tables", nargs="*", metavar="TABLE", help="such as visits or kobra.answers (default all marts)"
    )
    export.add_argument("--to", type=Path, metavar="FOLDER", help="default KOBRA_HOME/exports")
    export.add_argument("--format", choices=["parquet", "csv", "xlsx"], default="parquet", help="default %(default)s")
    export.add_argument("--partition-by", action="append", default=[], metavar="COLUMN", help="a folder per value")
    export.add_argument(
        "--spark-tables", metavar="PLACE", help="those of `kobra spark run`, where they are; then say --to as well"
    )

    command("connect", "print the SQL by which DuckDB attaches what is published, read-only", _connect)

    status = command("status", "say how things stand, on one screen; exit 1 when something needs a person", _status)
    status.add_argument("--json", action="store_true", help="for machines")

    command("doctor", "look for what is set up wrong, and say how to mend it; exit 1 when something is", _doctor)

    rejects = command("rejects", "list the deliveries that could not become visits, with reasons", _rejects)
    rejects.add_argument("--json", action="store_true", help="one JSON object a line")

    _on_spark(command)

    command("verify", "check every checksum in the raw store, and that all that was loaded is there", _verify)
    return parser


def _where(listening: argparse.ArgumentParser, port: int) -> None:
    listening.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    listening.add_argument("--port", type=int, default=port, help="port (default %(default)s)")


def _personal_data(command: Callable[[str, str, _Command], argparse.ArgumentParser]) -> None:
    leave = command("forget", "erase a person everywhere, for good", _forget)
    leave.description = (
        "Erase a person from the raw store, the tables and KOBRA_HOME/exports, for good: all deliveries of every "
        "visit with this account, or with this phone or e-mail address among its phones and e-mails, however spelt; "
        "and rejected deliveries in which the phone, the address, or the account under its name stands. It says what "
        "it found, and asks. Backups, copies elsewhere and your own files are not touched."
    )
    leave.add_argument("--source", type=_source, help="whose account it is; phones and addresses: of every source")
    leave.add_argument("--account", action="append", default=[], type=_id, metavar="ID", help="externalID")
    leave.add_argument("--phone", action="append", default=[], type=_phone, metavar="P", help="in any spelling")
    leave.add_argument("--email", action="append", default=[], type=_email, metavar="E", help="in any case")
    leave.add_argument(
        "--from", dest="list", metavar="FILE", help="lines such as `phone 5555550171`, - for standard input: what "
        "stands on a command line, other users of the machine can see",
    )  # fmt: skip
    leave.add_argument(
        "--rejects", action="store_true", help="also what cannot be read and has the account's bare id"
    )
    leave.add_argument("--dry-run", action="store_true", help="say what would be erased, and erase nothing")
    leave.add_argument("--yes", action="store_true", help="do not ask")

    keep = command("retain", "keep raw deliveries and personal data no longer than so many days", _retain)
    keep.description = (
        "Remove raw partitions older than --raw-days whole (the tables stay; what is built anew from the raw store "
        "afterwards has less), and blank personal data in the tables of visits whose last version came in more than "
        "--pii-days ago: client and contact names, comments, phones, e-mails, free text. The policy is remembered; "
        "every later run blanks by it."
    )
    for name, what in (("--raw-days", "raw deliveries"), ("--pii-days", "personal data in the tables")):
        keep.add_argument(name, type=_count, metavar="DAYS", help=f"how long to keep {what}")


def _on_spark(command: Callable[[str, str, _Command], argparse.ArgumentParser]) -> None:
    spark = command("spark", "make the tables on Apache Spark, for histories that take one machine too long", _spark)
    spark.add_argument(
        "action", choices=["run", "views"], help="run: load, build, publish; views: SQL that gives the tables names"
    )
    spark.add_argument("--tables", metavar="PLACE", help="folder or URL for all tables (default KOBRA_HOME/spark)")
    spark.add_argument("--master", metavar="URL", help="default: that of spark-submit, else this machine")
    spark.add_argument("--conf", action="append", default=[], type=_pair, metavar="NAME=VALUE", help="for Spark")
    spark.add_argument("--file-format", default="parquet", help="of tables of dbt (default %(default)s)")
    spark.add_argument("--as-of", type=_day, metavar="DATE", help="the day to speak of (default today)")
    spark.add_argument("--reload", action="store_true", help="read the whole raw store again")
    spark.add_argument(
        "--accept-loss", action="store_true", help="also where raw segments of what is loaded are gone"
    )
    spark.add_argument("--duckdb", action="store_true", help="views for DuckDB")


def _period(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", text)
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError("a period is a number with s, m or h behind it, such as 5m")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2] or "s"]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a date is year-month-day, such as 2026-03-31") from None


def _pair(text: str) -> tuple[str, str]:
    name, is_given, value = text.partition("=")
    if not (name and is_given):
        raise argparse.ArgumentTypeError("a setting of Spark is name=value, such as spark.executor.memory=2g")
    return name, value


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError("a count is a whole number from 1")
    return int(text)


def _source(text: str) -> str:
    if not rawstore.is_source(text):
        raise argparse.ArgumentTypeError("a source is 1 to 64 letters, digits, '_', '.' or '-'")
    return text


def _id(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an account is not blank")
    return text


def _phone(text: str) -> str:
    if not re.search("[0-9]", text):
        raise argparse.ArgumentTypeError("a phone has digits")
    return text


def _email(text: str) -> str:
    if "@" not in text:
        raise argparse.ArgumentTypeError("an e-mail address has an @")
    return text


# ---------------------------------------------------------------- commands


def _serve(_home: Home, options: argparse.Namespace) -> int:
    # The receiver is a program of its own that loads nothing of this one.
    flags = ["--host", options.host, "--port", str(options.port)]
    os.execv(sys.executable, [sys.executable, "-P", "-m", "receiver", *flags])


def _dashboard(home: Home, options: argparse.Namespace) -> int:
    # A program of its own as well: it reads the published file, and imports nothing of this one.
    os.environ["KOBRA_HOME"] = str(home.path.absolute())
    if options.password is not None:
        os.environ["KOBRA_DASHBOARD_PASSWORD"] = options.password
    flags = ["--host", options.host, "--port", str(options.port)]
    os.execv(sys.executable, [sys.executable, "-P", "-m", "notebooks", *flags])


def _run(home: Home, options: argparse.Namespace) -> int:
    from pipelines import run  # noqa: PLC0415

    if options.take_over:
        with lock(home):
            run.take_over(home)
    if options.every is None:
        return _run_once(home, options)
    while True:
        began = time.monotonic()
        try:
            _run_once(home, options)
        except Exception as why:  # noqa: BLE001 - the next run tries again
            _failed(why)
        time.sleep(max(0.0, options.every - (time.monotonic() - began)))


def _has_nothing_to_do(home: Home, options: argparse.Namespace) -> bool:
    from pipelines import run  # noqa: PLC0415

    return (
        options.command is _run
        and options.every is None
        and options.as_of is None
        and not options.full_refresh
        # Their clients have threads or sessions, which no process that is begun here would have.
        and home.store is None
        and home.lake is None
        and run.is_current(home)
    )


def _run_once(home: Home, options: argparse.Namespace) -> int:
    from pipelines import run  # noqa: PLC0415

    def once(*, accept_loss: bool) -> int:
        if options.as_of is None and not options.full_refresh and run.is_current(home):
            return OK
        with lock(home):
            _tell(run.run(home, _progress, options.as_of, full=options.full_refresh, accept_loss=accept_loss))
        return OK

    try:
        code = once(accept_loss=options.accept_loss)
    except BusyError:
        raise
    except Exception as why:
        with suppress(OSError):  # of a full disk, say
            home.make_warehouse()
            rawstore.put(home.last_fault, _sentence(why).splitlines()[0].removeprefix("kobra: "))
        if not isinstance(why, run.LessThanBeforeError) or not sys.stdin.isatty() or options.every is not None:
            raise
        print(why)
        _ask("make it anew with less?")
        code = once(accept_loss=True)
    home.last_fault.unlink(missing_ok=True)
    return code


def _build(home: Home, options: argparse.Namespace) -> int:
    from pipelines import run  # noqa: PLC0415

    with lock(home):
        built = run.build(home, options.as_of, full=options.full_refresh)
    print(f"built and tested as of {built.as_of}; kobra publish shows it to people")
    return OK


def _load(home: Home, options: argparse.Namespace) -> int:
    from pipelines import run  # noqa: PLC0415

    with lock(home, only_loads=True):
        loaded = run.load(home, _progress, retry_rejects=options.retry_rejects, accept_loss=options.accept_loss)
    _end_progress(loaded.deliveries)
    print(
        f"{loaded.deliveries} deliveries from {loaded.segments} segment(s), {loaded.rejected} of them rejected"
        + _damaged(loaded.damaged)
    )
    return OK


def _publish(home: Home, _options: argparse.Namespace) -> int:
    from pipelines import run  # noqa: PLC0415

    with lock(home):
        run.publish(home)
    print("published" if home.lake else f"published {home.published}")
    return OK


def _mappings(home: Home, _options: argparse.Namespace) -> int:
    from pipelines.build import mappings  # noqa: PLC0415

    copied = mappings.init(home.mappings)
    for path in copied:
        print(f"copied {path}")
    print("edit them, and the next kobra run builds by them" if copied else "nothing copied: all of them are there")
    return OK


def _connect(home: Home, _options: argparse.Namespace) -> int:
    from pipelines.publish import published  # noqa: PLC0415

    for statement in published.statements(home):
        print(f"{statement};")
    return OK


def _export(home: Home, options: argparse.Namespace) -> int:
    from pipelines.publish.export import export  # noqa: PLC0415

    to = options.to or home.exports
    done = export(_published(home, options, to), options.tables, to, options.format, options.partition_by)
    for each in done:
        cut = f", {each.cut} cells cut to Excel's 32,767 characters" if each.cut else ""
        print(f"{each.path}  {each.rows} rows{cut}")
    return OK


def _published(home: Home, options: argparse.Namespace, to: Path) -> "Attach":
    """What to export from."""
    if options.spark_tables is None:
        from pipelines.publish.published import attached  # noqa: PLC0415

        return partial(attached, home)
    from pipelines.spark import erasure  # noqa: PLC0415
    from pipelines.spark.place import place  # noqa: PLC0415
    from pipelines.spark.published import attached as attached_from_spark  # noqa: PLC0415

    if to.resolve().is_relative_to(home.exports.resolve()):
        raise UsageError(
            f"{home.exports} is for what `kobra run` published, and `kobra forget` writes it anew from that: name"
            " another folder with --to"
        )
    where = place(options.spark_tables)
    erasure.check_published(home, where)
    return partial(attached_from_spark, where)


def _import(home: Home, options: argparse.Namespace) -> int:
    from pipelines.load import segments  # noqa: PLC0415
    from pipelines.load.import_files import bring_in  # noqa: PLC0415
    from pipelines.privacy.sweep import Erasure  # noqa: PLC0415

    left_out = 0
    with lock(home):
        # Bodies of which the first try died are landed unread: the run that loads them knows what to do.
        is_second_try = crash_guard.is_left(home.warehouse)
        segments.tidy(home)
        erasure = Erasure(home)

        def leave_out(source: str, body: bytes) -> bool:
            nonlocal left_out
            goes = bool(erasure.marks) and not is_second_try and erasure.keeps_out(source, body)
            left_out += goes
            return goes

        with crash_guard.Note(home.warehouse) as note:
            for file in options.files:
                note.begin(file.absolute())
            done = bring_in(
                home.raw, options.files, options.source, leave_out,
                reads=not is_second_try, dry_run=options.dry_run,
            )  # fmt: skip
    print(
        f"{done.read} deliveries read, {done.landed} {'would land' if options.dry_run else 'landed'}, "
        f"{done.known} known already" + (f"; {left_out} more of erased persons left out" if left_out else "")
    )
    if done.odd:
        print(f"{len(done.odd)} of them cannot be read as a visit, and are rejected by the run that loads them:")
        for odd in done.odd[:_SHOWN]:
            print(f"  {odd.place}: {odd.reason}")
        if len(done.odd) > _SHOWN:
            print(f"  and {len(done.odd) - _SHOWN} more: see kobra rejects")
    return OK


def _forget(home: Home, options: argparse.Namespace) -> int:
    from pipelines import run  # noqa: PLC0415
    from pipelines.privacy.forget import search  # noqa: PLC0415

    persons = _persons(options)
    with lock(home, _say_that_it_waits):
        run.pull(home)
        found = search(home, persons)
    for line in found.lines():
        print(line, flush=True)
    if options.dry_run:
        return OK
    if not options.yes:
        _ask("erase this for good?")
    with lock(home, _say_that_it_waits):
        print(run.forget(home, persons, _progress, rejects=options.rejects).line())
    return OK


def _say_that_it_waits() -> None:
    print("another run holds the lock: waiting until it has ended", file=sys.stderr)


def _ask(question: str) -> None:
    """Go on when a person says yes. Raises UsageError when nobody does, or can."""
    if not sys.stdin.isatty():
        raise UsageError("nothing is erased yet: say --yes, or ask on a terminal; --dry-run asks for nothing")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes", "s", "si", "sí"):
        raise UsageError("nothing was erased")


def _persons(options: argparse.Namespace) -> "Persons":
    from pipelines.privacy.forget import Persons  # noqa: PLC0415

    named = {"account": [*options.account], "phone": [*options.phone], "email": [*options.email]}
    if options.list == "-" and not (options.yes or options.dry_run):
        raise UsageError("who is read from standard input cannot be asked there: say --yes or --dry-run as well")
    for number, kind, value in _listed(options.list) if options.list else ():
        if kind not in named:
            raise UsageError(f"line {number} of the list begins with neither account nor phone nor email")
        try:
            named[kind].append({"account": _id, "phone": _phone, "email": _email}[kind](value))
        except argparse.ArgumentTypeError as why:
            raise UsageError(f"line {number} of the list: {why}") from None
    if not any(named.values()):
        raise UsageError("say who is to be forgotten: --source with --account, or --phone, or --email, or --from")
    if named["account"] and not options.source:
        raise UsageError("two lenders may have the same account id: say whose it is with --source")
    return Persons(tuple(named["account"]), tuple(named["phone"]), tuple(named["email"]), options.source)


def _listed(name: str) -> Iterator[tuple[int, str, str]]:
    """Number, kind and value of each line of a list of persons."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise UsageError("the list that --from names cannot be read as text") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            kind, _, value = line.strip().partition(" ")
            yield number, kind.rstrip(":").lower(), value


def _retain(home: Home, options: argparse.Namespace) -> int:
    from pipelines import run  # noqa: PLC0415
    from pipelines.privacy.retention import Policy  # noqa: PLC0415

    if options.raw_days is None and options.pii_days is None:
        raise UsageError("say how many days to keep: --raw-days, --pii-days, or both")
    with lock(home):
        done = run.retain(home, Policy(options.raw_days, options.pii_days), _progress)
    if done.policy.pii_days:
        print(f"personal data older than {done.policy.pii_days} days is blanked, by this and by every later run")
    if options.raw_days:
        print(f"{len(done.partitions)} raw partition(s) older than {options.raw_days} days removed")
    return OK


def _sample(_home: Home, options: argparse.Namespace) -> int:
    from pipelines.sample import demo  # noqa: PLC0415

    if not options.target.startswith(("http://", "https://")):
        path = demo.write_sample(Path(options.target), options.count, options.seed, options.source)
        print(f"{options.count} deliveries in {path}; bring them in with: kobra import {path}")
        return OK
    key = options.key or options.settings.sample_key
    if not key:
        raise UsageError("sending needs the receiver's api-key: give it with --key or in KOBRA_SAMPLE_KEY")
    answers = demo.post(options.target, key, options.count, options.seed)
    print(", ".join(f"{number} answered {status}" for status, number in sorted(answers.items())))
    return OK if set(answers) <= {200, 400} else FAILED


def _demo(_home: Home, options: argparse.Namespace) -> int:
    from pipelines.sample import demo  # noqa: PLC0415

    return demo.show(Path("kobra-demo"), options.count)


def _status(home: Home, options: argparse.Namespace) -> int:
    from pipelines.operate.status import look  # noqa: PLC0415

    status = look(home, options.settings)
    print(json.dumps(status.figures, indent=2, default=str) if options.json else status.text())
    return FAILED if status.faults else OK


def _doctor(home: Home, options: argparse.Namespace) -> int:
    from pipelines.operate.doctor import examine  # noqa: PLC0415

    is_well = True
    for finding in examine(home, options.settings):
        print(finding.line(), flush=True)
        is_well &= finding.is_well
    return OK if is_well else FAILED


def _rejects(home: Home, options: argparse.Namespace) -> int:
    from pipelines.operate.status import rejects  # noqa: PLC0415

    rows = rejects(home)
    for row in rows:
        print(json.dumps(row) if options.json else "  ".join(str(value) for value in row.values()))
    if rows and not options.json:
        print(f"{len(rows)} rejected; after a fix: kobra load --retry-rejects, then kobra run")
    return OK


def _spark(home: Home, options: argparse.Namespace) -> int:
    from pipelines.spark.place import place  # noqa: PLC0415
    from pipelines.spark.views import statements  # noqa: PLC0415

    where = place(options.tables or str(home.path / "spark"))
    if options.action == "views":
        print(*statements(where, for_duckdb=options.duckdb), sep="\n")
        return OK
    from pipelines.spark import run  # noqa: PLC0415

    how = run.Options(options.master, dict(options.conf), options.file_format, options.reload, options.accept_loss)
    with lock(home):
        ran = run.run(home, where, how, options.as_of)
    print(
        f"{ran.loaded.deliveries} deliveries from {ran.loaded.segments} segment(s), {ran.loaded.rejected} of them"
        f" rejected; {'built, tested and published' if ran.is_built else 'nothing to build'} in {where.url}"
        + _damaged(ran.loaded.damaged)
    )
    return OK


def _verify(home: Home, _options: argparse.Namespace) -> int:
    from pipelines.operate import verify  # noqa: PLC0415

    segments = records = damaged = erased = 0
    for path, sound, damage, gone in rawstore.verify(home.raw):
        segments += 1
        records += sound
        erased += gone
        for stretch in damage:
            damaged += stretch.records
            print(f"{path}: {stretch.records} damaged record(s) at offset {stretch.offset}")
    for sentence in verify.namesakes(home.raw):
        print(sentence)
    lost = verify.lost(home)
    for place in lost:
        print(f"gone from {home.store}: {place}")
    missing = verify.missing(home)
    for each in missing:
        print(f"gone, and loaded before: {each}")
    print(
        f"{segments} segments, {records} sound records, {damaged} damaged"
        + f", {erased} erased" * bool(erased)
        + f", {sum(len(each.segments) for each in missing)} segment(s) gone" * bool(missing)
    )
    return FAILED if damaged or missing or lost else OK


def _progress(loaded: "Loaded") -> None:
    if sys.stderr.isatty():
        print(f"\r{loaded.deliveries:,} deliveries loaded", end="", file=sys.stderr, flush=True)


def _end_progress(deliveries: int) -> None:
    if sys.stderr.isatty() and deliveries:
        print(file=sys.stderr)


def _tell(brought: "Brought") -> None:
    _end_progress(brought.deliveries)
    print(
        f"{brought.deliveries} deliveries from {brought.segments} segment(s): {brought.new} new, "
        f"{brought.duplicates} duplicates, {brought.rejected} rejected" + _damaged(brought.damaged)
    )


def _damaged(records: int) -> str:
    return f"; {records} damaged records skipped, see kobra verify" if records else ""
