"""A JSON number keeps its spelling where text as sent is promised, and becomes plain digits where an id is."""

from decimal import Decimal
from pathlib import Path

import pytest
from kobra_home import Home, loaded

BODY = b"""{"visitID": "V", "agentID": 21559.0, "externalID": 1.10105499609e11, "lat": 19.4320, "lng": -99.1330,
    "balance": 1500.50, "checklist": [{"answers": [
        {"answerTypeID": 4, "value": 1500.50}, {"answerTypeID": 1, "value": 1e3}, {"answerTypeID": 3, "value": 7.0}
    ]}]}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    path: Path = tmp_path_factory.mktemp("numbers")
    return loaded(path, BODY, b"\xef\xbb\xbf" + BODY)


def test_an_answer_is_text_as_sent_and_read_by_its_type(home: Home) -> None:
    answers = home.rows("select value, value_number, value_text, parse_ok from answers order by answer_pos")
    assert answers == [
        {"value": "1500.50", "value_number": Decimal("1500.5"), "value_text": None, "parse_ok": True},
        {"value": "1e3", "value_number": None, "value_text": "1e3", "parse_ok": True},
        {"value": "7.0", "value_number": Decimal(7), "value_text": None, "parse_ok": True},
    ]


def test_ids_are_plain_digits_and_coordinates_are_numbers(home: Home) -> None:
    assert home.rows("select agent_id, account_id, lat, lng from visits") == [
        {"agent_id": "21559", "account_id": "110105499609", "lat": 19.432, "lng": -99.133}
    ]


def test_a_byte_order_mark_is_no_other_content(home: Home) -> None:
    assert home.values("select outcome from deliveries order by delivery_id") == ["new", "duplicate"]


def test_undocumented_numbers_are_kept_as_sent(home: Home) -> None:
    assert home.values("select extra::varchar from visits") == ['{"balance":1500.50}']
