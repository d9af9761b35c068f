"""python -m tests.torture.fuzz_target FOLDER SECONDS [MUTANT]: segments as nobody ever wrote them, read. Exit 0 when
the reader kept its word with each.

What becomes of the records is drawn from bytes that libFuzzer changes, and keeps whenever they reach a new place in
the reader's code.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import atheris
import zstandard

with atheris.instrument_imports(include=["receiver.rawstore"]):
    from receiver import rawstore
    from receiver.rawstore import read, record
    from receiver.rawstore.record import MARKER

DAY = f"{rawstore.PARTITION}2026-05-04"
BODIES = [
    b"",
    b'{"visitID":1}',
    b"\xff\xfe",
    b'{"note":"{\\"crc32\\":\\"00000000\\",\\n\xe2\x80\xa8"}\r\n',
    b"x" * 300,
]
RECORDS = [
    rawstore.delivery(rawstore.delivery_id(number, number), "2026-05-04T12:00:00.000000Z", "lender_a", body)
    for number, body in enumerate(BODIES)
]
RECORDS.append(rawstore.Delivery("erased", "2026-05-04T12:00:00.000000Z", "lender_a", 0, "", erased=True))
LINES = [rawstore.encode(record) for record in RECORDS]
SPLINTERS = [b"\n", b"\r\n", b"{", MARKER, LINES[0][:-1], LINES[1][:30], b"\x28\xb5\x2f\xfd", bytes(9)]
RSS_LIMIT_MB = 512


class BrokenWordError(Exception):
    """The reader did what it must not; the message is a sentence that says what."""


def main() -> None:
    """Read what libFuzzer thinks up for so many seconds; it ends the process itself."""
    folder, seconds, *mutant = sys.argv[1:]
    for name in mutant:
        MUTANTS[name]()
    partition = Path(folder) / DAY
    partition.mkdir()
    flags = [f"-max_total_time={seconds}", f"-rss_limit_mb={RSS_LIMIT_MB}", "-max_len=300", "-len_control=0"]
    atheris.Setup([sys.argv[0], *flags, f"-artifact_prefix={folder}/"], lambda drawn: judge(partition, drawn))
    atheris.Fuzz()


def judge(partition: Path, drawn: bytes) -> None:
    """Make a segment of what was drawn, read it, and hold what was read against what stands in it."""
    drawer = atheris.FuzzedDataProvider(drawn)
    lines = [LINES[drawer.ConsumeIntInRange(0, len(LINES) - 1)] for _ in range(drawer.ConsumeIntInRange(0, 6))]
    if drawer.ConsumeBool():
        judge_plain(partition / f"1{rawstore.CLOSED}", damaged(b"".join(lines), drawer))
    else:
        frames = [compressed(line) for line in lines]
        judge_compressed(partition / f"1{rawstore.COMPRESSED}", frames, damaged(b"".join(frames), drawer))


def damaged(content: bytes, drawer: Any) -> bytes:
    """The content after a few accidents."""
    for _ in range(drawer.ConsumeIntInRange(0, 4)):
        at = drawer.ConsumeIntInRange(0, len(content))
        kind = drawer.ConsumeIntInRange(0, 4)
        length = drawer.ConsumeIntInRange(0, 40)
        if kind == 0:
            content = (
                content[:at] + bytes(byte ^ 1 << length % 8 for byte in content[at : at + 1]) + content[at + 1 :]
            )
        elif kind == 1:
            content = content[:at] + content[at + length :]
        elif kind == 2:
            content = content[:at] + drawer.PickValueInList(SPLINTERS) + content[at:]
        elif kind == 3:
            content = content[:at] + drawer.ConsumeBytes(length) + content[at:]
        else:
            content = content[:at]
    return content


def judge_plain(path: Path, content: bytes) -> None:
    """Of a plain segment every record that is whole comes back from where it stands, and all the rest is damage."""
    path.write_bytes(content)
    found = list(rawstore.read_segment(path))
    stand = list(whole_records(content))
    read = [(each.offset, each.line) for each in found if not isinstance(each, rawstore.Damage)]
    due = [(at, content.count(b"\n", 0, at) + 1) for at, _ in stand]
    keep(read == due, f"read at {read}, and whole records stand at {due}")
    keep_exact([record for _, record in stand], found)
    rest = len(content) - sum(len(rawstore.encode(record)) for _, record in stand)
    keep(
        any(isinstance(each, rawstore.Damage) for each in found) == (rest > 0), f"{rest} damaged bytes, told: {found}"
    )


def whole_records(content: bytes) -> Iterator[tuple[int, rawstore.Delivery]]:
    """Where the records stand that no accident has hit."""
    at = 0
    while at < len(content):
        number = next((number for number, line in enumerate(LINES) if content.startswith(line, at)), None)
        if number is not None:
            yield at, RECORDS[number]
        at += 1 if number is None else len(LINES[number])


def judge_compressed(path: Path, frames: list[bytes], content: bytes) -> None:
    """Of a compressed segment every frame that is whole comes back; what else comes was landed at some time."""
    path.write_bytes(content)
    found = list(rawstore.read_segment(path))
    keep(all(record_of(each) in LINES for each in found if not isinstance(each, rawstore.Damage)), "made up a record")
    if content == b"".join(frames):
        keep_exact([RECORDS[LINES.index(uncompressed(frame))] for frame in frames], found)
        keep(len(found) == len(frames), "told damage where there is none")


def compressed(text: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=6, write_checksum=True).compress(text)


def uncompressed(frame: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(BytesIO(frame)).read()


def record_of(found: rawstore.Found) -> bytes:
    """The line that was read."""
    if isinstance(found, rawstore.Landed):
        return rawstore.encode(found.delivery)
    return LINES[-1] if found == rawstore.Erased(*found[:2], "erased") else b""


def keep_exact(due: list[rawstore.Delivery], found: list[rawstore.Found]) -> None:
    """Bodies as they came, and of what was erased nothing but its id."""
    read = [record_of(each) for each in found if not isinstance(each, rawstore.Damage)]
    keep(read == [rawstore.encode(record) for record in due], f"{len(due)} records due, read: {found}")


def keep(kept: bool, fault: str) -> None:
    if not kept:
        raise BrokenWordError(fault)


# ---------------------------------------------------------------- mutants


def unchecked() -> None:
    """Believes whatever can be decoded."""

    def decode(line: bytes) -> rawstore.Delivery | None:
        with suppress(ValueError):
            return record._decode(b"{" + line[record._PAYLOAD_AT :])
        return None

    reader: Any = read
    reader.decode = decode


def trusting() -> None:
    """Takes every frame for a sound one."""
    reader: Any = read
    stream_reader = zstandard.ZstdDecompressor().stream_reader

    def texts(frame: Any) -> Iterator[bytes]:
        frame._file.seek(0)
        yield stream_reader(frame._file, read_across_frames=True, closefd=False).read()
        frame.stop, frame.is_whole = 1 << 60, True

    reader.Frame.texts = texts


def hasty() -> None:
    """Gives up a damaged line whole, with the records that stand in it."""
    reader: Any = read
    reader.pieces = lambda line: [(0, line)]


MUTANTS = {"read-without-checksum": unchecked, "trust-every-frame": trusting, "give-up-the-line": hasty}


if __name__ == "__main__":
    main()
