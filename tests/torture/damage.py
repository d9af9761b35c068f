"""Every cut and every flipped byte of a segment, closed or left behind: all other records are read, the count exact.

A segment that was cut and left behind is also taken over by a new receiver: it is recovered, and what arrives next
stands beside it. Small, so that every place can be tried.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from receiver import rawstore
from receiver.rawstore import Damage, Landed, Landing, Stamps, read, record
from tests.torture.table import Row, Trial

DAY = date(2026, 5, 4)
BODIES = [b'{"visitID":1}', b'{"client":"Jos\xe9"}', b'{"note":"a\\nb\xe2\x80\xa8"}\r\n', b"", b'{"visitID":2}']
NEXT = b'{"visitID":"next"}'
FLIPS = (0x01, 0x20, 0x80, 0xFF)
_honest_decode = rawstore.decode
Append = Callable[[Path, Sequence[bytes]], None]


def prove_cuts(times: int, folder: Path) -> Row:
    """Every cut of `times` segments; then the next delivery is landed."""
    tried = f"{times} segments of {len(BODIES)} records, each cut at each of its {len(_content())} bytes"
    honest, mutant = Trial(), _cuts(folder, append_to_torn, range(100))
    for _ in range(times):
        honest.add(_cuts(folder, append_beside, range(len(_content()) + 1)))
    return Row("torn tail", tried, honest, {"append-to-a-torn-file": mutant})


def prove_flips(times: int, folder: Path) -> Row:
    """Every flipped byte of `times` segments."""
    honest, mutant = Trial(), _flips(folder, decode_unchecked)
    for _ in range(times):
        honest.add(_flips(folder, _honest_decode))
    tried = f"{times} segments, each byte flipped in {len(FLIPS)} ways: {times * len(FLIPS) * len(_content()):,}"
    return Row("flipped bit", tried, honest, {"read-without-checksum": mutant})


def append_beside(raw: Path, lines: Sequence[bytes]) -> None:
    """As the receiver does at its start: recover, then begin a segment of its own."""
    rawstore.recover(raw)
    store = Landing(raw)
    store.append(DAY, lines)
    store.close()


def append_to_torn(raw: Path, lines: Sequence[bytes]) -> None:
    """The mutant: goes on in the file that it finds."""
    (path,) = raw.glob("*/*.open")
    with path.open("ab") as file:
        file.writelines(lines)
        os.fsync(file.fileno())
    rawstore.recover(raw)


def decode_unchecked(line: bytes) -> rawstore.Delivery | None:
    """The mutant: believes whatever can be decoded."""
    try:
        return record._decode(b"{" + line[record._PAYLOAD_AT :])
    except ValueError:
        return None


def _content(bodies: Sequence[bytes] = BODIES) -> bytes:
    stamps = Stamps()
    return b"".join(rawstore.encode(rawstore.delivery(*stamps.next(), "lender_a", body)) for body in bodies)


def _segment(folder: Path, content: bytes, ending: str) -> Path:
    path = folder / f"{rawstore.PARTITION}{DAY}" / f"20260504T120000000000Z{ending}"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def _cuts(folder: Path, append: Append, places: range) -> Trial:
    """Cut at these places. Whole records count as acknowledged, and so does what is landed next."""
    content, trial, raw = _content(), Trial(), folder / "raw"
    for cut in places:
        _segment(raw, content[:cut], rawstore.OPEN)
        append(raw, [_content([NEXT])])
        found = [each for path in rawstore.closed(raw).values() for each in rawstore.read_segment(path)]
        bodies = [each.delivery.exact_body() for each in found if isinstance(each, Landed)]
        due = [*BODIES[: content[:cut].count(b"\n")], NEXT]
        trial.acknowledged += len(due)
        trial.lost += sum(body not in bodies for body in due)
        trial.expect(bodies == due or len(bodies) < len(due), f"cut at {cut}: something is there that was not landed")
        trial.expect(len(bodies) == len(found), f"cut at {cut}: a closed segment is damaged")
        torn = sum(path.stat().st_size for path in raw.glob("*/*.torn"))
        trial.expect(torn == cut - content.rfind(b"\n", 0, cut) - 1, f"cut at {cut}: what was cut off was not kept")
        shutil.rmtree(raw)
    return trial


def _flips(folder: Path, decode: Callable[[bytes], rawstore.Delivery | None]) -> Trial:
    """Flip everywhere. All records but the one that was hit count as acknowledged; that one must be reported."""
    content, trial, raw = _content(), Trial(), folder / "raw"
    path = _segment(raw, content, rawstore.CLOSED)
    sound = [each.delivery for each in rawstore.read_segment(path) if isinstance(each, Landed)]
    trial.expect([each.exact_body() for each in sound] == BODIES, "an undamaged segment does not read back")
    reader: Any = read
    reader.decode = decode
    try:
        for at in range(len(content)):
            hit, begins = content.count(b"\n", 0, at), content.rfind(b"\n", 0, at) + 1
            due = [*sound[:hit], *sound[hit + 1 :]]
            for flip in FLIPS:
                path.write_bytes(content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :])
                found = list(rawstore.read_segment(path))
                came = [each.delivery for each in found if isinstance(each, Landed)]
                damage = [(each.offset, each.records) for each in found if isinstance(each, Damage)]
                trial.acknowledged += len(due)
                trial.lost += sum(each not in came for each in due)
                trial.expect(len(came) <= len(due), f"byte {at}: a damaged record is passed off as sound")
                trial.expect(damage == [(begins, 1)], f"byte {at}: reported as {damage}")
    finally:
        reader.decode = _honest_decode
    shutil.rmtree(raw)
    return trial
