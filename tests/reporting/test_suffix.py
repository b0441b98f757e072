"""Turkish endings follow how a number or a name is read aloud."""

import pytest

from kdlib.reporting.core.i18n import _fill
from kdlib.reporting.core.suffix import suffixed


@pytest.mark.parametrize(
    ("word", "case", "expected"),
    [
        ("%87,55", "i", "%87,55'i"),  # beş
        ("4", "in", "4'ün"),  # dört
        ("2025", "de", "2025'te"),
        ("ResNet18", "e", "ResNet18'e"),  # sekiz
        ("6", "si", "6'sı"),
        ("3", "si", "3'ü"),
        ("2", "sinde", "2'sinde"),
        ("9", "sinde", "9'unda"),
        ("6", "sinde", "6'sında"),
        ("4", "sinde", "4'ünde"),
        ("%10,00", "in", "%10,00'ın"),  # sıfır
        ("0,50", "den", "0,50'den"),  # elli
        ("40", "den", "40'tan"),  # kırk
        ("2.000", "e", "2.000'e"),  # bin
        ("300", "le", "300'le"),  # yüz
        ("5.000.000", "i", "5.000.000'u"),  # milyon
        ("MobileNetV2", "e", "MobileNetV2'ye"),
        ("EfficientNet-B4", "den", "EfficientNet-B4'ten"),
        ("EfficientNet-Lite0", "in", "EfficientNet-Lite0'ın"),
        ("FitNets", "de", "FitNets'te"),
        ("Wanda", "le", "Wanda'yla"),
        ("Taylor", "i", "Taylor'ı"),
        ("SGD", "in", "SGD'nin"),
        ("bn", "e", "bn'ye"),
        ("–", "si", "–"),
        ("küçük ResNet (ResNet50 yerine)", "in", "küçük ResNet'in (ResNet50 yerine)"),
    ],
)
def test_endings(word, case, expected):
    assert suffixed(word, case) == expected


def test_a_message_names_the_case_of_its_field():
    assert _fill("{all} farktan {up:'si} sıfırın üzerinde, {down:'si} altında", all=9, up=6, down="3") == (
        "9 farktan 6'sı sıfırın üzerinde, 3'ü altında"
    )
