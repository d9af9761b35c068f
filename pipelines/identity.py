"""By what a person is known, however it is spelt: phone numbers, e-mail addresses, ids of accounts."""

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import NamedTuple

import phonenumbers
from phonenumbers import Leniency, PhoneNumberFormat, PhoneNumberMatcher

from pipelines.blanks import BLANKS, trimmed
from pipelines.ids import read_id

DEFAULT_REGION = "MX"
REGIONS = frozenset(phonenumbers.SUPPORTED_REGIONS)
"""Countries (ISO 3166-1) whose numbers can be read without a country code."""

_LONGEST_TEXT = 4096  # of a phone; what is longer is no phone
_BETWEEN = r"[\s.()\-]{0,4}"
_TEN_DIGITS = rf"(?=(?:{_BETWEEN}[0-9]){{10}}(?![0-9]))"
# Until August 2019 Mexico had prefixes that many still write: 1 behind the country code for a mobile, and 01, 044 or
# 045 before a number of the country (IFT, Plan Técnico Fundamental de Numeración). phonenumbers does not know them.
_MOBILE_PREFIX = re.compile(rf"(?<![0-9])((?:\+|00)?{_BETWEEN}52){_BETWEEN}1{_TEN_DIGITS}")
_TRUNK_PREFIX = re.compile(rf"(?<![0-9+])0(?:1|44|45){_TEN_DIGITS}")
_PLAIN_NUMBER = re.compile(r"[2-9][0-9]{9}").fullmatch  # as Mexicans write theirs
_ELSE = re.compile(r"[^\s.()\-+0-9]+")
_DIGITS = re.compile(r"\+?[0-9]+")
_OF_ADDRESS = rf"[^{BLANKS}<>,;:\"'()\[\]]"
_ADDRESS = re.compile(rf"{_OF_ADDRESS}+@{_OF_ADDRESS}+")


class Number(NamedTuple):
    """A phone number in a text: its digits with an optional +, and in E.164; None where it is no possible number."""

    normalised: str
    e164: str | None


def numbers(text: str, region: str = DEFAULT_REGION) -> list[Number]:
    """The phone numbers in a text, in order. `region`: whose numbers stand there without a country code.

    Digits that are no possible number are numbers without E.164; a text without digits has none.
    """
    text = _plain(text)
    if region == "MX" and _PLAIN_NUMBER(text):  # nearly all are
        return [Number(text, f"+52{text}")]
    return list(_numbers(text[:_LONGEST_TEXT], region))


@lru_cache(maxsize=10_000)
def _numbers(text: str, region: str) -> tuple[Number, ...]:
    searched, prefixes = _without_old_prefixes(text, region)
    found = [
        _number(text[prefixes.get(match.start, match.start) : match.end], match.number)
        for match in PhoneNumberMatcher(searched, region, leniency=Leniency.POSSIBLE)
    ]
    return tuple(found or _groups(searched, text, region))


def _plain(text: str) -> str:
    """A phone that came as a JSON number with a fraction or an exponent, as plain digits."""
    text = trimmed(text)
    if not re.search("[.eE]", text):
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    is_whole = number.is_finite() and abs(number.adjusted()) < 20 and number == number.to_integral_value()
    return str(int(number)) if is_whole else text


def _without_old_prefixes(text: str, region: str) -> tuple[str, dict[int, int]]:
    """The text with other characters in place of prefixes of old, and where a number with one begins in both."""
    begins: dict[int, int] = {}

    def mobile(found: re.Match[str]) -> str:
        begins[found.end() - len("+52")] = found.start()
        return "+52".rjust(len(found[0]))

    def trunk(found: re.Match[str]) -> str:
        begins[found.end()] = found.start()
        return " " * len(found[0])

    text = _MOBILE_PREFIX.sub(mobile, text)
    if region == "MX":
        text = _TRUNK_PREFIX.sub(trunk, text)
    return text, {_first(text, at): start for at, start in begins.items()}


def _first(text: str, at: int) -> int:
    """Where the number begins behind a prefix: a bracket may stand before it."""
    while at < len(text) and text[at] not in "+(0123456789":
        at += 1
    return at


def _number(raw: str, found: phonenumbers.PhoneNumber) -> Number:
    if found.extension:
        raw = raw[: raw.rfind(found.extension)]
    return Number(_normalised(raw), phonenumbers.format_number(found, PhoneNumberFormat.E164))


def _groups(searched: str, text: str, region: str) -> Iterator[Number]:
    """Numbers of a text in which none stands by itself: groups of digits that are possible numbers, or else whatever
    stands between other characters than those within a number."""
    groups = [_possible(group, region) for group in _DIGITS.findall(searched)]
    if any(groups):
        yield from (group for group in groups if group)
    else:
        normalised = map(_normalised, _ELSE.split(text))
        yield from (Number(digits, None) for digits in normalised if digits)


def _possible(group: str, region: str) -> Number | None:
    try:
        number = phonenumbers.parse(group, region)
    except phonenumbers.NumberParseException:
        return None
    return _number(group, number) if phonenumbers.is_possible_number(number) else None


def _normalised(text: str) -> str:
    digits = "".join(str(int(character)) for character in text if character.isdecimal())
    return f"+{digits}" if digits and trimmed(text).startswith("+") else digits


def spellings(text: str, region: str = DEFAULT_REGION) -> set[str]:
    """All by which the numbers in a text are compared: digits as they stand, E.164, and without the country."""
    found = set[str]()
    for number in numbers(text, region):
        found.add(number.normalised.removeprefix("+"))
        if number.e164:
            parsed = phonenumbers.parse(number.e164)
            found |= {number.e164, phonenumbers.national_significant_number(parsed)}
    return found - {""}


def addresses(text: str) -> set[str]:
    """The e-mail addresses in a text, in small letters; all of it where none stands by itself."""
    found = {address.strip(".").lower() for address in _ADDRESS.findall(text)}
    return found or {trimmed(text).lower()} - {""}


def account(text: str) -> str:
    """An id as it is compared, by the rule of `ids`."""
    return read_id(text) or trimmed(text)
