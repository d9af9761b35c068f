"""Who may send: live keys are compared in constant time, and their file may change while the receiver runs."""

import logging
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from receiver import rawstore
from receiver.settings import Settings, SettingsError

log = logging.getLogger(__name__)

SHORTEST = 16
_KEY = re.compile(r"[!-~]+")  # what fits into a header unambiguously
_LOOK_EVERY_S = 1.0
_FEWEST_CHARACTERS = 8
_WORDS = re.compile(r"kobra|secret|password|changeme|change-me|example|lender|webhook|qwerty|12345678")


class Key(NamedTuple):
    """A live key, by its digest alone, and the source that sends with it."""

    digest: bytes
    source: str


def parse(text: str, where: str) -> list[Key]:
    """The keys in `source:key` items separated by commas or lines; `#` begins a comment line.

    Raises SettingsError with a sentence that names `where` and the item's position, never its text.
    """
    return [_key(item, f"item {number} of {where}") for number, item in enumerate(_items(text), 1)]


def _items(text: str) -> list[str]:
    lines = (line for line in text.replace("\ufeff", "").splitlines() if not line.lstrip().startswith("#"))
    return [item.strip() for line in lines for item in line.split(",") if item.strip()]


def _key(item: str, where: str) -> Key:
    source, colon, key = (part.strip() for part in item.partition(":"))
    if not colon:
        raise SettingsError(f"{where} has no colon: write it as source:key.")
    if not rawstore.is_source(source):
        raise SettingsError(
            f"{where} has no usable source name: take 1 to 64 letters, digits, dots, dashes or underscores."
        )
    if len(key) < SHORTEST:
        raise SettingsError(f"{where} has a key that is too short: take at least {SHORTEST} characters.")
    if not _KEY.fullmatch(key):
        raise SettingsError(f"{where} has a key with blanks or characters beyond ASCII: take printable ASCII.")
    return Key(sha256(key.encode()).digest(), source)


def weaknesses(text: str, where: str) -> list[str]:
    """What a stranger could guess of the keys in a text that `parse` takes, in sentences without any of it."""
    found = []
    for number, item in enumerate(_items(text), 1):
        key = item.partition(":")[2].strip()
        if _is_guessable(key):
            found.append(
                f"item {number} of {where} has a key that can be guessed: make one with openssl rand -hex 32."
            )
    return found


def _is_guessable(key: str) -> bool:
    """Few different characters, a repetition, a sequence, or words such as those in a documentation."""
    is_repeated = key in (key + key)[1:-1]
    steps = {ord(b) - ord(a) for a, b in pairwise(key)}
    return len(set(key)) < _FEWEST_CHARACTERS or is_repeated or len(steps) < 3 or bool(_WORDS.search(key.lower()))


def unambiguous(keys: Iterable[Key]) -> tuple[Key, ...]:
    """The keys without repetition. Raises SettingsError when there are none, or one key means two sources."""
    distinct = tuple(dict.fromkeys(keys))
    if not distinct:
        raise SettingsError(
            "No key is configured: put the key that you gave Kobra into KOBRA_API_KEYS, or into the file "
            "that KOBRA_API_KEYS_FILE names, as source:key."
        )
    if len({key.digest for key in distinct}) < len(distinct):
        raise SettingsError("The same key is given to two sources: give every source a key of its own.")
    return distinct


def source_of(key: bytes, keys: Sequence[Key]) -> str | None:
    """The source that a header's raw bytes stand for. Always looks at every key, whichever matches."""
    digest = sha256(key).digest()
    found = None
    for live in keys:
        if compare_digest(digest, live.digest):
            found = live.source
    return found


class Keyring:
    """The live keys. Raises SettingsError at the start; later a file that cannot be used changes nothing."""

    def __init__(self, settings: Settings) -> None:
        self._fixed = parse(settings.api_keys, "KOBRA_API_KEYS")
        self._file = settings.api_keys_file
        self._seen = _state(self._file)
        self._look_at = monotonic() + _LOOK_EVERY_S
        self._keys = self._read()

    @property
    def sources(self) -> list[str]:
        """The source of each live key."""
        return [key.source for key in self._keys]

    def source_of(self, key: bytes) -> str | None:
        """The source that a header's raw bytes stand for, by the keys that are live now."""
        if self._file is not None and monotonic() >= self._look_at:
            self._reload()
        return source_of(key, self._keys)

    def _reload(self) -> None:
        self._look_at = monotonic() + _LOOK_EVERY_S
        state = _state(self._file)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._keys = self._read()
        except SettingsError as why:
            log.error("keys_not_reloaded", extra={"fields": {"reason": str(why)}})  # noqa: TRY400 - a sentence
        else:
            log.info("keys_reloaded", extra={"fields": {"keys": len(self._keys)}})

    def _read(self) -> tuple[Key, ...]:
        in_file = parse(_text(self._file), "KOBRA_API_KEYS_FILE") if self._file else []
        return unambiguous([*self._fixed, *in_file])


def inspect(settings: Settings) -> dict[str, object]:
    """How many live keys each source has, what is weak about them, and in which file they are.
    Raises SettingsError."""
    sources = Counter(Keyring(settings).sources)
    file = settings.api_keys_file
    weak = weaknesses(settings.api_keys, "KOBRA_API_KEYS")
    if file:
        weak += weaknesses(_text(file), "KOBRA_API_KEYS_FILE")
    return {"keys": dict(sorted(sources.items())), "weak": weak, "keys_file": str(file) if file else None}


def _text(file: Path) -> str:
    """The text of a file, in UTF-8, or in UTF-16 as Windows' editors and shells write it."""
    try:
        content = file.read_bytes()
        return content.decode("utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8")
    except (OSError, UnicodeDecodeError):
        raise SettingsError(
            "The file that KOBRA_API_KEYS_FILE names cannot be read as text: check its path and permissions."
        ) from None


def _state(file: Path | None) -> tuple[int, int, int] | None:
    try:
        found = file.stat() if file else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None
