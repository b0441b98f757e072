"""Numbers come out as English and Turkish readers write them."""

import pytest

from kdlib.reporting.core import numbers
from kdlib.reporting.core.i18n import text


@pytest.mark.parametrize(
    ("value", "digits", "en", "tr"),
    [
        (89.01, 2, "89.01", "89,01"),
        (0.6128, 4, "0.6128", "0,6128"),
        (89.0, 2, "89.00", "89,00"),
        (0.61499999999999999, 2, "0.62", "0,62"),  # half away from zero, on the number as written
        (2.675, 2, "2.68", "2,68"),
        (None, 2, "–", "–"),
    ],
)
def test_decimals(value, digits, en, tr):
    assert numbers.decimal(value, digits, "en") == en
    assert numbers.decimal(value, digits, "tr") == tr


def test_counts_are_grouped():
    assert numbers.integer(11335114, "en") == "11,335,114"
    assert numbers.integer(11335114, "tr") == "11.335.114"


@pytest.mark.parametrize(
    ("fraction", "digits", "en", "tr"),
    [
        (0.986, 1, "98.6%", "%98,6"),
        (0.9, 2, "90.00%", "%90,00"),
        (1.0, 0, "100%", "%100"),
        (0.57355, 2, "57.36%", "%57,36"),
    ],
)
def test_percent_keeps_its_decimals_and_sign_stands_where_the_language_has_it(fraction, digits, en, tr):
    assert numbers.percent(fraction, digits, "en") == en
    assert numbers.percent(fraction, digits, "tr") == tr


@pytest.mark.parametrize(
    ("value", "digits", "en", "tr"),
    [(3.05, 2, "+3.05", "+3,05"), (-0.2, 2, "-0.20", "-0,20"), (0, 0, "+0", "+0"), (-0.001, 2, "+0.00", "+0,00")],
)
def test_differences_carry_a_sign_and_nothing_is_plus_zero(value, digits, en, tr):
    assert numbers.signed(value, digits, "en") == en
    assert numbers.signed(value, digits, "tr") == tr


def test_short_uses_only_the_decimals_it_needs():
    assert [numbers.short(v, "tr") for v in (2, 2.5, 0.75, 10, 50.0)] == ["2", "2,5", "0,75", "10", "50"]


def test_reported_precision_is_that_of_the_most_precise_number():
    assert numbers.decimals_of([67, 76, None], 2) == 0
    assert numbers.decimals_of([90.4, 90.27], 2) == 2
    assert numbers.decimals_of([0.6128, 0.61], 4) == 4
    assert numbers.decimals_of([0.123456], 4) == 4
    assert numbers.decimals_of([], 2) == 0


@pytest.mark.parametrize(("label", "tr"), [("1.5", "1,5"), ("2", "2"), ("T = 1.5", "T = 1.5"), ("v1.5.2", "v1.5.2")])
def test_only_labels_that_are_numbers_are_localised(label, tr):
    assert numbers.localised(label, "tr") == tr
    assert numbers.localised(label, "en") == label


def test_text_takes_a_string_a_mapping_a_number_or_nothing():
    assert [text(v, "tr") for v in ("T", {"en": "Row", "tr": "Satır"}, 1.5, None)] == ["T", "Satır", "1.5", ""]
