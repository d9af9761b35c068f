"""What may stand in bytes that nobody can read as a visit: ids of accounts, phones, e-mail addresses."""

import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from urllib.parse import unquote_plus

from pipelines.blanks import BLANKS

_LARGEST_UNPACKED = 16 << 20
# Of a record that is damaged the body still stands in quotation marks within quotation marks.
_ACCOUNT = re.compile(r"external_?id[\\\"'\s]{0,8}[:=][\\\"'\s]{0,8}([^\\\"'\s,;&}\]]{1,200})", re.IGNORECASE)
_GROUPS = re.compile(r"[0-9]+(?:[\s.()\-/]{1,3}[0-9]+)*")
_FEWEST_DIGITS, _MOST_DIGITS = 7, 15  # of a phone number (E.164)
_MOST_PHONES = 50_000
_COUNTRY_PREFIX = re.compile(r"(?:(?:00)?521?|0(?:1|44|45)|1)(?=[0-9]{10}\Z)")
_OF_EMAIL = rf"[^{BLANKS}<>,;:\"'()\[\]{{}}\\=&]"
_EMAIL = re.compile(rf"{_OF_EMAIL}{{1,64}}@{_OF_EMAIL}{{1,255}}")
_SOURCE = re.compile(r'"source":"([A-Za-z0-9_.-]{1,64})"')
_ESCAPE = re.compile(r"\\{1,2}u([0-9a-fA-F]{4})")


def forms(content: bytes) -> Iterator[str]:
    """The texts that bytes may stand for: as they are, unpacked, in UTF-16, with escapes resolved."""
    if content.startswith((b"\x1f\x8b", b"\x78")):
        with suppress(zlib.error):  # then it is no such stream, or damaged at its very beginning
            content = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(content, _LARGEST_UNPACKED)
    if b"\0" in content:
        yield content.decode("utf-16-le", "ignore")
        yield content.decode("utf-16-be", "ignore")
    text = content.decode("utf-8", "replace")
    yield text
    if "%" in text:
        yield unquote_plus(text)
    if _ESCAPE.search(text):
        yield _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def accounts_in(text: str) -> Iterator[str]:
    """What stands behind the name of the field for accounts."""
    for found in _ACCOUNT.finditer(text):
        yield found[1]
        yield re.sub(r"\.0+$", "", found[1])


def phones_in(text: str) -> Iterator[str]:
    """Digits that may be a phone number: neighbouring groups of them, with and without a prefix. Of a text with more
    than any has, the first."""
    return islice((form for group in _GROUPS.finditer(text) for form in _phones(group[0])), _MOST_PHONES)


def _phones(stretch: str) -> Iterator[str]:
    groups = re.findall("[0-9]+", stretch)
    for first in range(len(groups)):
        digits = ""
        for group in groups[first : first + _MOST_DIGITS]:
            digits += group
            if len(digits) > _MOST_DIGITS:
                break
            if len(digits) >= _FEWEST_DIGITS:
                yield digits
                if prefix := _COUNTRY_PREFIX.match(digits):
                    yield digits[prefix.end() :]


def emails_in(text: str) -> Iterator[str]:
    """E-mail addresses."""
    yield from _EMAIL.findall(text)


def source_in(text: str) -> str | None:
    """The source that a damaged record names."""
    found = _SOURCE.search(text)
    return found[1] if found else None
