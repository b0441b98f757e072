"""What reporting says stands in the catalogue, in Turkish, whole."""

import ast
import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from kdlib.reporting.core import i18n
from kdlib.reporting.core.i18n import N_, say, text, translations

PATH = i18n.LOCALE / "tr" / "LC_MESSAGES" / "kdlib.po"


@pytest.fixture(scope="module")
def turkish() -> dict[str, str]:
    with PATH.open("rb") as file:
        return {entry.id: entry.string for entry in read_po(file) if entry.id}


def test_the_catalogue_holds_what_the_code_says_and_nothing_else(turkish):
    keywords = dict.fromkeys(("say", "N_", "translations"))
    found = [
        one for folder in i18n.SAYING for one in extract_from_dir(folder, method_map=i18n.SOURCES, keywords=keywords)
    ]
    assert {message for _, _, message, _, _ in found} == set(turkish)


def test_no_text_hides_within_another_call(turkish):
    """The extractor passes over a call that stands among the arguments of another one."""
    for folder in i18n.SAYING:
        for path in sorted(Path(folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("say", "N_", "translations"):
                    first = node.args[0]
                    if isinstance(first, ast.Constant):
                        assert first.value in turkish, path


def test_nothing_is_untranslated(turkish):
    assert [message for message, said in turkish.items() if not said] == []


def test_both_languages_take_the_same_values(turkish):
    for message, said in turkish.items():
        fields = [set(re.findall(r"{(\w+)(?::'[a-z]+)?}", each)) for each in (message, said)]
        assert fields[0] == fields[1], message


def test_the_ending_of_a_value_is_made_for_it(turkish):
    # {n:'si} and not {n}'si, which would be right for some numbers alone
    assert [said for said in turkish.values() if re.search(r"}['’]\w", said)] == []


def test_extracting_again_changes_nothing():
    before = PATH.read_bytes()
    try:
        i18n.extract()
        assert PATH.read_bytes() == before
    finally:
        PATH.write_bytes(before)


def test_a_text_is_said_in_either_language():
    assert say("seeds: {seeds}", "tr", seeds="0, 1") == "tohumlar: 0, 1"
    assert translations("seed: {seeds}", seeds=lambda lang: lang) == {"en": "seed: en", "tr": "tohum: tr"}
    assert text(N_("Seeds"), "tr") == "Tohum"


def test_what_a_user_named_is_not_translated():
    assert text("Seeds", "tr") == "Seeds"


def test_an_unknown_language_is_an_error():
    with pytest.raises(KeyError, match="de"):
        say("Seeds", "de")
