"""A phone number is the same however it is spelt, and no two numbers are ever glued together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import identity
from pipelines.identity import Number, numbers
from pipelines.privacy import texts

ONE = "+525555550171"
SPELLINGS = (
    "5555550171", "55 5555 0171", "(55) 5555-0171", "+52 55 5555 0171", "+525555550171", "525555550171",
    "+5215555550171", "+52 1 55 5555 0171", "+52-1-55-5555-0171", "52 1 (55) 5555 0171", "0052 55 5555 0171",
    "005215555550171",
    "044 55 5555 0171", "(044) 55 5555 0171", "045 55 5555 0171", "01 55 5555 0171", "01 (55) 5555-0171",
    "5555550171.0", "5.555550171E9", "tel: 5555550171", "5555550171 ext 12", "\u00a05555550171\u2003",
    "５５５５５５０１７１",
)  # fmt: skip
TWO = (
    "55 5555 0171 / 55 8765 4321", "5555550171 5587654321", "5555550171-5587654321", "5555550171y5587654321",
    "5555550171,5587654321", "casa 55 5555 0171, cel 044 55 8765 4321", "5555550171\n5587654321",
)  # fmt: skip


@pytest.mark.parametrize("text", SPELLINGS)
def test_one_number_in_many_spellings(text: str) -> None:
    assert [number.e164 for number in numbers(text)] == [ONE]


@pytest.mark.parametrize("text", TWO)
def test_two_numbers_in_one_text_are_two(text: str) -> None:
    found = numbers(text)
    assert [number.e164 for number in found] == [ONE, "+525587654321"]
    assert all(len(number.normalised) in (10, 13) for number in found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("123", [Number("123", None)]),
        ("123 / 456", [Number("123", None), Number("456", None)]),
        ("no phone", []),
        ("", []),
        ("+1 415 555 2671", [Number("+14155552671", "+14155552671")]),
        ("55555501715587654321", [Number("55555501715587654321", None)]),
        ("044 55 5555 0171", [Number("0445555550171", ONE)]),
    ],
)
def test_what_is_no_possible_number_keeps_its_digits(text: str, found: list[Number]) -> None:
    assert numbers(text) == found


def test_without_a_country_code_it_is_a_number_of_the_default_region() -> None:
    assert numbers("415 555 2671", "US") == [Number("4155552671", "+14155552671")]
    assert numbers("+52 1 55 5555 0171", "US")[0].e164 == ONE


@given(st.from_regex(r"[2-9][0-9]{9}", fullmatch=True))
def test_the_short_cut_for_mexican_numbers_arrives_where_the_library_does(text: str) -> None:
    assert numbers(text) == list(identity._numbers(text, "MX"))


@given(st.text(alphabet="0123456789 +-()/.,ab", max_size=60))
def test_no_digit_is_lost_between_texts_that_hold_numbers_and_none_is_made_up(text: str) -> None:
    for number in numbers(text):
        assert number.normalised.strip("+").isdecimal()
        assert len(number.normalised) <= len(text) + 1


@pytest.mark.parametrize("text", SPELLINGS[:18])
def test_a_number_is_found_in_text_that_nobody_can_read(text: str) -> None:
    forms = set(texts.phones_in(f'{{"fecha":"2026-03-01","tel":"{text}", 12345'))
    assert forms & {"5555550171"}
