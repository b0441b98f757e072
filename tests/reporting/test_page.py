"""The report page: what stands in it, that it needs nothing else, and how it behaves in a real browser."""

import re
import shutil
from html import unescape
from pathlib import Path

import pytest
from pruning_data import results as pruning_results

import kdlib
from kdlib import reporting
from kdlib.errors import UserError
from kdlib.reporting import page, reproduction
from kdlib.reporting.core.i18n import text
from kdlib.reporting.verdicts import verdicts

PUBLISHED = Path(__file__).resolve().parents[2] / "outputs" / "published" / "reduced"
STUDIES = ("cnn_grid", "tr_kd", "tr_transfer", "ts5", "ts6", "radiology_final")
ATTACK = "<img src=x onerror=document.title='broken'>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def found():
    """Published results, in which a model is called what an attacker might call it."""
    made = [reporting.read(PUBLISHED / name) for name in STUDIES]
    made[0].study = made[0].study.model_copy(update={"labels": {**made[0].study.labels, "cnn2": ATTACK}})
    return made


@pytest.fixture(scope="module")
def written(found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    for lang in ("en", "tr"):
        (folder / f"report.{lang}.html").write_text(page.page(found, lang), encoding="utf-8")
    return folder


def source(written, lang: str) -> str:
    return (written / f"report.{lang}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_the_page_is_one_small_file_that_asks_for_nothing(written, lang):
    text = source(written, lang)
    assert len(text.encode()) < 3_000_000
    assert re.search(r"<title>.+</title>", text)
    loaded = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert [link for link in loaded if not re.match(r"#|data:|report\.(en|tr)\.html$", link)] == []
    assert f"version = {{{kdlib.__version__}}}" in text
    assert "{{" not in text.replace("{{The kdlib study maintainers}}", "")


@pytest.mark.parametrize("lang", ["en", "tr"])
def test_what_data_call_things_is_text(written, lang):
    text = source(written, lang)
    assert ATTACK not in text
    assert "&lt;img src=x onerror" in text


def test_every_verdict_stands_there_with_the_runs_it_comes_from(written, found):
    text = unescape(source(written, "en"))
    known = set(re.findall(r'<tr id="run-([0-9a-f]{16})">', text))
    assert known == {record.id for results in found for record in results.used}
    opened = {id for runs in re.findall(r'data-runs="([^"]+)"', text) for id in runs.split()}
    made = [one for results in found for one in verdicts(results)]
    assert made
    for one in made:
        assert set(one.found.runs) <= opened <= known
        assert len(one.found.runs) >= 2


def test_numbers_of_the_reports_are_counted_once_each(found):
    ours = {results.study.name: reproduction.reproduced(results) for results in found}
    grid = reproduction.counts(ours["cnn_grid"])
    assert sum(grid.values()) == 49  # 45 cells, teacher, student alone, two ResNet18 students
    assert grid["absent"] == 2
    counted = [one for one in ours["tr_transfer"] if one.verdict == "equal"]
    assert len(counted) == 27  # Table 2, to the digit
    (size,) = [one for one in ours["ts6"] if one.reported == 68.11]
    assert (size.verdict, round(size.ours, 2)) == ("equal", 68.11)
    assert {one.verdict for one in ours["ts5"] if one.reported in (86.67, 85.83)} == {"absent"}  # Lite0 stands in


def test_a_direction_is_the_same_where_the_interval_says_so(found):
    for one in reproduction.reproduced(found[0]):
        if one.found is None or one.found.interval is None:
            continue
        low, high = one.found.interval
        wanted = "open" if low <= 0 <= high else "same" if (low > 0) == (one.change > 0) else "opposite"
        assert one.verdict == wanted


def test_at_another_ratio_only_the_unpruned_network_stands_beside_the_report(tmp_path):
    other = pruning_results(tmp_path, beside=False, pruning={"ratio": 0.3, "reported": {}})
    said = {text(one.where, "en"): one.verdict for one in reproduction.reproduced(other)}
    assert said["Original · Accuracy (%)"] == "level"
    assert said["Taylor · Accuracy (%)"] == said["Taylor · Size (MiB)"] == "absent"


def test_a_folder_without_studies_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no study; run one first, such as: kdlib run tr_kd --profile quick"):
        page.write(tmp_path / "quick")


def test_the_turkish_page_says_nothing_in_english(written):
    text = unescape(re.sub(r"<(style|script).*?</\1>", "", source(written, "tr"), flags=re.S))
    said = re.sub(r"<[^>]+>", "\n", text)
    assert "Damıtma yapılmalı mı?" in said
    words = re.compile(r"\b(the|and|with|which|images|layers|trained|against|settings)\b")
    known = ("kdlib run", "@software", "title =", "author =")
    lines = [line for line in said.splitlines() if words.search(line) and not any(key in line for key in known)]
    assert lines == []


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here; Debian has one: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, written):
    """Open the page; afterwards: nothing was asked of any other place, and no error was logged."""
    contexts, trouble = [], []

    def go(lang="en", width=1280, scheme="light", at="", **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda said: trouble.append(said.text))
        shown.on("pageerror", lambda error: trouble.append(str(error)))
        shown.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else trouble.append(r.url))
        shown.goto(f"file://{written}/report.{lang}.html{at}")
        return shown

    yield go
    for context in contexts:
        context.close()
    assert trouble == []


# WCAG 2: the lowest contrast of any text with what is behind it.
CONTRAST = """() => {
  const part = (v) => v <= 10 ? v / 3294 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (element) => {
    for (let up = element; up; up = up.parentElement) {
      const colour = getComputedStyle(up).backgroundColor;
      if (!/, 0\\)|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const contrast = (element) => {
    const [low, high] = [getComputedStyle(element).color, behind(element)].map(light).sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const seen = [...document.querySelectorAll("p, li, h2, h3, td, th, a, button")]
    .filter((e) => e.offsetParent && e.textContent.trim() && !e.matches(".again, .anchor"));
  return Math.min(...seen.map(contrast));
}"""


@pytest.mark.parametrize("lang", ["en", "tr"])
@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(visit, lang, width, scheme):
    shown = visit(lang, width, scheme)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate(CONTRAST) >= 4.5
    assert shown.title() == shown.inner_text("h1")


def test_runs_are_searched_filtered_and_sorted_and_the_address_keeps_it(visit, found):
    shown = visit()
    shown.select_option("#filter [name=study]", "radiology_final")
    rows = shown.locator("#records tbody tr:visible")
    assert rows.count() == len(found[-1].used)
    shown.click("#records th[data-key=test]")
    values = [float(text) for text in rows.locator("td:nth-child(10)").all_inner_texts()]
    assert values == sorted(values)
    shown.click("#records th[data-key=test]")
    assert [float(text) for text in rows.locator("td:nth-child(10)").all_inner_texts()] == sorted(values, reverse=True)
    again = visit(at=shown.evaluate("location.hash"))
    assert again.locator("#records tbody tr:visible").count() == rows.count()
    assert again.get_attribute("#records th[data-key=test]", "aria-sort") == "descending"
    again.fill("#filter [name=q]", "no such run")
    assert again.locator("#records tbody tr:visible").count() == 0


def test_no_two_runs_look_the_same(written):
    """Each is told from the others by what was asked of it, not by its id alone."""
    text = source(written, "en")
    keys = re.findall(r'<th scope="col" data-key="(\w+)"', text)
    measured = ("test", "val", "epochs", "seconds", "commit", "data", "id")
    asked = [at for at, key in enumerate(keys) if key not in measured]
    rows = [re.findall("<td>(.*?)</td>", row) for row in re.findall(r'<tr id="run-\w+">(.*?)</tr>', text, re.DOTALL)]
    assert len(rows) > 100
    assert len({tuple(row[at] for at in asked) for row in rows}) == len(rows)


def test_the_rows_that_are_shown_come_as_csv(visit, tmp_path, found):
    shown = visit("tr")
    shown.select_option("#filter [name=study]", "radiology_final")
    with shown.expect_download() as download:
        shown.click("#download")
    download.value.save_as(tmp_path / "runs.csv")
    lines = (tmp_path / "runs.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith("Çalışma;")
    assert len(lines) == 1 + len(found[-1].used)


def test_a_number_opens_its_runs_and_a_link_what_is_folded(visit):
    shown = visit()
    button = shown.locator("#answers button.number").first
    button.click()
    assert shown.locator("#panel dl").count() == len(button.get_attribute("data-runs").split())
    shown.keyboard.press("Escape")
    assert not shown.locator("#panel").is_visible()
    folded = visit(at="#ts6-settings")
    assert folded.locator("#ts6-settings table").is_visible()
    folded.evaluate("document.querySelector('#language').addEventListener('click', (e) => e.preventDefault())")
    folded.click("#language")
    assert folded.get_attribute("#language", "href").endswith("report.tr.html#ts6-settings")


def test_the_theme_can_be_turned(visit):
    shown = visit()
    paper = "getComputedStyle(document.body).backgroundColor"
    before = shown.evaluate(paper)
    shown.click("#theme")
    assert shown.evaluate(paper) != before


def test_without_scripts_everything_is_there(visit):
    shown = visit(java_script_enabled=False)
    assert shown.locator("#answers article").count() == 4
    assert shown.locator("#records tbody tr").first.is_visible()
    shown.click("#ts6 details:last-of-type summary")
    assert shown.locator("#ts6-settings table").is_visible()
