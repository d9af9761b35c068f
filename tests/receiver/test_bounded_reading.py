"""Whatever stands in a file, reading it takes no more memory than a few of the longest records."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import zstandard

from receiver import rawstore
from receiver.rawstore import Stamps

FOLDER = f"{rawstore.PARTITION}{date(2026, 5, 4)}"
GOOD = b"".join(rawstore.encode(rawstore.delivery(*Stamps().next(), "lender_a", b"{}")) for _ in range(3))
LINE_BYTES = 1_500_000_000
# Reads a segment, tells what it found and how much memory that took.
PROGRAM = """
import re, sys
from pathlib import Path
from receiver import rawstore
found = list(rawstore.read_segment(Path(sys.argv[1])))
rawstore.erase_records(Path(sys.argv[1]), lambda record: False)
print(sum(isinstance(each, rawstore.Landed) for each in found),
      sum(isinstance(each, rawstore.Damage) for each in found) > 0,
      int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) >> 10)
"""


def read(path: Path) -> tuple[int, bool, int]:
    told = subprocess.check_output([sys.executable, "-c", PROGRAM, path], text=True).split()
    return int(told[0]), told[1] == "True", int(told[2])


def test_a_line_of_a_gigabyte_and_a_half_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / FOLDER / "a.jsonl"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.write(GOOD + rawstore.record.MARKER)
        file.seek(LINE_BYTES, 1)  # zeros that take no room
        file.write(b"\n" + GOOD)
    records, is_damaged, mib = read(path)
    assert (records, is_damaged) == (6, True)
    assert mib < 200


def test_a_bomb_in_a_compressed_segment_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / FOLDER / "a.jsonl.zst"
    path.parent.mkdir()
    compress = zstandard.ZstdCompressor(level=19).compressobj()
    bomb = b"".join(compress.compress(bytes(1 << 20)) for _ in range(1500)) + compress.flush()
    assert len(bomb) < 200_000
    path.write_bytes(zstandard.compress(GOOD) + bomb + zstandard.compress(GOOD))
    records, is_damaged, mib = read(path)
    assert (records, is_damaged) == (6, True)
    assert mib < 200
