"""Ids of accounts and agents: one rule for what Kobra sends and for the customer's files."""

import re

from pipelines.blanks import trimmed

_DIGITS_KEPT = 15  # of a number, by Excel and by floating point; those behind them are lost
_with_point = re.compile(r"([0-9]+)\.0+").fullmatch
_with_exponent = re.compile(r"([0-9]+)(?:[.,]([0-9]+))?[eE]([+-]?[0-9]{1,3})").fullmatch
_no_value = re.compile(r"#+|#N/[AD]|#\S+[!?]").fullmatch  # a column too narrow, a formula that failed


def read_id(text: str) -> str | None:
    """The id that a text says; None where Excel or another program made a number of it and digits are lost.

    An id is the text without white space around it, leading zeros included. What can only be a number, and shows all
    its digits, is those: 110105499609.0 and 1.10105499609E+11 are 110105499609. 1.10105E+11 is not: half of its
    digits were rounded away. Neither is 1E+11, which Excel shows for half a million numbers. 1E11 may be an id.
    """
    text = trimmed(text)
    if text.isalnum():  # nearly all are
        return text
    if found := _with_point(text):
        return found[1] if len(found[1]) <= _DIGITS_KEPT else None
    if found := _with_exponent(text):
        whole, fraction, exponent = found[1], found[2] or "", int(found[3])
        if not fraction and not found[3].startswith("+"):
            return text
        digits, rest = (whole + fraction)[: len(whole) + exponent], fraction[max(exponent, 0) :]
        is_all_there = 0 <= exponent <= len(fraction) and not rest.strip("0") and len(digits) <= _DIGITS_KEPT
        return digits if is_all_there else None
    return None if _no_value(text) else text
