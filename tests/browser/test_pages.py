"""What a reader of the pages meets: filters, keyboard, narrow windows, paper, and no network."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / os.environ.get("LOOPWATCH", "target/release/loopwatch")

SWEEP = """\
version: 1
description: A sweep for the page
why: Its drawings have to be opened by a browser.
model: script:{root}/scenarios/checkpoints/reported-loop.yaml
sampling: {{temperature: 0, max_tokens: 400}}
tests:
  - {{id: read, user: read README.md and summarise, assert: [not-loop]}}
  - {{id: wanted, user: what?, assert: [not-loop, {{type: icontains, value: nowhere}}]}}
  - {{id: short, user: read README.md and summarise, sampling: {{max_tokens: 4}}, assert: [not-loop]}}
"""


def written(arguments, folder, expected):
    done = subprocess.run(
        [PROGRAM, *arguments, "--report", folder], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == expected, done.stderr
    return next(Path(folder).glob("*/*.html"))


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """A run without the cure: some cases loop and differ from their snapshots, some pass."""
    folder = tmp_path_factory.mktemp("report")
    return written(["run", "--set", "sampling.repetition_penalty=1.0"], folder, 100)


@pytest.fixture(scope="session")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    scenario = folder / "prompts.yaml"
    scenario.write_text(SWEEP.format(root=ROOT))
    axes = ["--axis", "penalty=1.0,1.1,1.3", "--axis", "window=20,64"]
    return written(["sweep", scenario, *axes], folder / "reports", 0)


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or None, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Opens a page, and holds that it asked for nothing else and complained of nothing."""
    asked, complaints, contexts = [], [], []

    def go(path, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert all(url.startswith("file://") for url in asked), asked
    assert len(asked) == len(contexts), asked
    assert not complaints, complaints


def shown(page, what):
    return page.locator(f"{what}:visible").count()


def choices(page):
    """The radio buttons of the filters with the number of cases that each promises."""
    for label in page.locator(".filters label").all():
        yield label.locator("input"), int(re.search(r"\d+", label.inner_text()).group())


def test_each_filter_shows_as_many_cases_as_it_says(report, opened):
    page = opened(report)
    counts = []
    for radio, count in choices(page):
        counts.append(count)
        if count == 0:
            assert radio.is_disabled()
            continue
        radio.check()
        assert shown(page, "table.cases tbody tr") == count
        assert shown(page, "article.case") + shown(page, "details.case") == count
        # No heading is left without a case below it.
        for section in page.locator("section:has(> .case)").all():
            assert section.is_visible() == (section.locator("> .case:visible").count() > 0)
    # All, not passed, with a loop, different: a run without its cure has some of each.
    assert counts[0] > counts[1] > 0 and counts[2] > 0 and counts[3] > 0


def test_filters_are_chosen_with_the_keyboard(report, opened):
    page = opened(report)
    every, failed = (count for _, count in list(choices(page))[:2])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "filter"
    assert shown(page, "table.cases tbody tr") == every
    page.keyboard.press("ArrowDown")
    assert shown(page, "table.cases tbody tr") == failed
    page.keyboard.press("ArrowUp")
    assert shown(page, "table.cases tbody tr") == every


def test_a_link_of_the_table_leads_to_its_case_even_if_that_is_folded(report, opened):
    page = opened(report)
    passed = page.locator("table.cases tbody tr:not(.is-failed) a").first
    target = page.locator(passed.get_attribute("href"))
    assert not target.is_visible()
    passed.focus()
    page.keyboard.press("Enter")
    target.wait_for(state="visible")


def test_every_generation_has_its_ribbon_with_words_for_listeners(report, opened):
    page = opened(report)
    ribbons = page.locator("svg.ribbon")
    assert ribbons.count() > 10
    for ribbon in ribbons.all()[:5]:
        assert re.match(r"generation \d+: \d+ tokens", ribbon.get_attribute("aria-label"))
    looping = page.locator("article.is-loop svg.ribbon .fill-repeat").first
    assert looping.bounding_box()["width"] > 1


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("which", ["report", "sweep"])
def test_nothing_hangs_over_the_edge(which, width, request, opened):
    page = opened(request.getfixturevalue(which), viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("which", ["report", "sweep"])
def test_dark_windows_have_dark_pages_with_legible_text(which, request, opened):
    page = opened(request.getfixturevalue(which), color_scheme="dark")
    colour = "getComputedStyle(document.body).{}.match(/\\d+/g).slice(0, 3).map(Number)"
    ground = sum(page.evaluate(colour.format("backgroundColor")))
    ink = sum(page.evaluate(colour.format("color")))
    assert ground < 150 and ink > 500


def test_paper_shows_what_is_folded(report, opened):
    page = opened(report)
    folded = page.locator("details.case .turn").first
    assert not folded.is_visible()
    page.emulate_media(media="print")
    assert folded.is_visible()


def test_the_sweep_says_its_recommendation_and_draws(sweep, opened):
    page = opened(sweep)
    assert page.locator("h1").is_visible()
    assert shown(page, "svg") > 2


def rows(page):
    return shown(page, "table.matrix tbody tr")


def test_the_matrix_is_narrowed_to_as_many_prompts_as_its_filters_say(sweep, opened):
    page = opened(sweep)
    counts = []
    for radio, count in choices(page):
        counts.append(count)
        radio.check()
        assert rows(page) == count
        marks = {"show-is-bad": "↻✗!", "show-is-changed": "≠"}.get(radio.get_attribute("id"), "")
        for row in page.locator("table.matrix tbody tr:visible").all():
            assert not marks or any(mark in row.inner_text() for mark in marks)
    # One prompt is too short to loop.
    assert counts[0] == 3 and counts[1] == 2 and 0 < counts[2] < 3


def test_the_matrix_tells_without_colour_and_to_those_who_listen(sweep, opened):
    page = opened(sweep)
    words = {"↻": "looped", "✗": "failed", "✓": "passed", "≠": "different from off"}
    cells = page.locator("table.matrix td").all()
    assert len(cells) == 3 * 5
    for cell in cells:
        marks = "".join(cell.locator(".mark").all_inner_texts())
        said = cell.locator(".aside").inner_text()
        assert marks and said == ", ".join(words[mark] for mark in marks)
        assert cell.locator(".mark").first.get_attribute("aria-hidden") == "true"


def test_the_matrix_is_narrowed_with_the_keyboard_and_printed_whole(sweep, opened):
    page = opened(sweep)
    page.locator("#show-all").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#show-is-bad").is_checked() and rows(page) == 2
    # Paper says what is left out of it, and has no choices.
    page.emulate_media(media="print")
    assert shown(page, ".by-prompt .filters label") == 1
    page.emulate_media(media="screen")
    page.locator("#show-all").check()
    page.emulate_media(media="print")
    assert shown(page, ".by-prompt .filters") == 0 and rows(page) == 3
    table = page.locator("table.matrix").bounding_box()
    assert table["width"] <= page.viewport_size["width"]
