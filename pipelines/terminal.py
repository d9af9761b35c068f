"""Text of a payload on a terminal: it does nothing there, and ends before the line does."""

import sys
import unicodedata
from typing import TextIO

_LONGEST = 80


def shown(text: str, longest: int = _LONGEST) -> str:
    """A text on one line: what a terminal would obey is escaped, and what is too long is cut."""
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return "".join(each if _is_harmless(each) else _escaped(each) for each in cut)


def _is_harmless(character: str) -> bool:
    """Letters, marks, numbers, punctuation, symbols and the plain blank; no control, no change of direction."""
    return character == " " or unicodedata.category(character)[0] in "LMNPS"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def speak_any_encoding() -> None:
    """Escape what the terminal's encoding does not have, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIO) or hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
