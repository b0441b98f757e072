"""A DataFrame is shown as the language writes it."""

import pandas as pd
import pytest

from kdlib.reporting import localise


@pytest.mark.parametrize(
    ("lang", "label", "threshold", "count", "share", "said"),
    [("en", "accuracy", "0.5", "11,335,114", "0.123", "yes"), ("tr", "doğruluk", "0,5", "11.335.114", "0,123", "evet")],
)
def test_words_and_numbers_are_those_of_the_language(lang, label, threshold, count, share, said):
    index = pd.Index([0.5, 1], name="threshold")
    frame = pd.DataFrame({"accuracy": [0.1234, None], "n": [11_335_114, 2], "on record": ["yes", None]}, index=index)
    shown = localise(frame, lang)
    assert shown.columns[0] == label
    assert list(shown.index) == [threshold, "1"]
    assert list(shown.iloc[0]) == [share, count, said]
    assert list(shown.iloc[1]) == ["–", "2", "–"]


def test_names_of_classes_and_settings_are_left_alone():
    frame = pd.DataFrame({"ship": ["adam lr=0.001"]}, index=["all"])
    assert localise(frame, "tr").equals(frame)
