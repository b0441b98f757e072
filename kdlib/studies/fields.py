"""What every part of a study's YAML is made of: strict fields, and texts in one or both languages."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

LANGUAGES = ("en", "tr")


def _both_languages(value: str | dict[str, str]) -> str | dict[str, str]:
    if isinstance(value, dict) and set(value) != set(LANGUAGES):
        raise ValueError(f"a text is a plain string or has exactly the languages {', '.join(LANGUAGES)}")
    return value


Text = Annotated[str | dict[str, str], AfterValidator(_both_languages)]


def text(value: str | dict[str, str], lang: str) -> str:
    """Return a text in a language; a plain string is the same in both."""
    return value if isinstance(value, str) else value[lang]


class Strict(BaseModel):
    """Unknown fields are mistakes; what was read does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
