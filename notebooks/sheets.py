"""CSV that a spreadsheet opens as it is meant: accents stay, and no text becomes a formula."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

# What a spreadsheet may take for a formula (OWASP, CSV injection): also behind white space, which some programs skip,
# in full width, which some fold, and control characters that make some start a new cell.
_RISKY = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ufeff]*[=+\-@＝＋－＠]|[\t\r\n\x00]")


def safe(value: Any) -> Any:
    """Text that a spreadsheet takes for text; anything else as it is."""
    return f"'{value}" if isinstance(value, str) and _RISKY.match(value) else value


def csv_bytes(names: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """The columns of `names` (column → heading), in UTF-8 with a byte order mark: else Excel spoils accents."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([safe(heading) for heading in names.values()])
    writer.writerows([safe(row[name]) for name in names] for row in rows)
    return text.getvalue().encode("utf-8-sig")
