"""`report.html` in a real browser: it loads nothing, shows every frame, and no name in it comes alive."""

import numpy as np
import pytest

from osvos_keras.dataset.lists import write_lists
from osvos_keras.davis import Davis
from osvos_keras.evaluation import evaluate_methods
from osvos_keras.evaluation.folder import repeat_first_mask
from osvos_keras.io.masks import write_mask
from osvos_keras.report.html import write_html_report
from tests.conftest import write_sequence

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two methods on two sequences; a mask of `cow` is empty. One name is hostile."""
    folder = tmp_path_factory.mktemp("report")
    for seed, name in enumerate(("cow", EVIL)):
        write_sequence(folder / "davis", name, frames=9, seed=seed)
    davis = Davis(folder / "davis")
    write_lists(davis, ["cow", EVIL])
    methods = {
        name: repeat_first_mask(davis, "val", folder / name) for name in ("first", "</script><b>second</b>")
    }
    write_mask(methods["first"] / "cow" / "00004.png", np.zeros((45, 61), bool))
    scores = evaluate_methods(methods, davis, progress=False)
    return write_html_report(scores, davis, folder / "report.html", progress=False), scores


def test_letters_of_a_picture_are_not_taken_for_a_missing_number(report, tmp_path, monkeypatch):
    scores = report[1]
    davis = Davis(scores["first"].arguments["davis"])
    monkeypatch.setattr("osvos_keras.report.html._small_jpeg", lambda path: "/9j/NaNNaN==")
    path = write_html_report(scores, davis, tmp_path / "report.html", progress=False)
    assert path.read_text(encoding="utf-8").count('"/9j/NaNNaN=="') == 2 * 7


@pytest.fixture(params=[1280, 390])
def page(report, browser, request):
    page = browser.new_page()
    page.set_viewport_size({"width": request.param, "height": 900})
    page.problems, page.addresses = [], []
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("dialog", lambda dialog: page.problems.append("a dialog") or dialog.dismiss())
    page.on("request", lambda request: page.addresses.append(request.url))
    page.goto(report[0].as_uri())
    yield page
    assert page.problems == []
    assert [address for address in page.addresses if not address.startswith("data:")] == [page.url]
    page.close()


def test_the_report_opens_on_the_worst_frame(page):
    caption = page.inner_text("#caption")
    assert caption.startswith("frame 00004: J 0.000") and "missed 100%" in caption
    assert page.inner_text("#title") == "cow"
    assert page.evaluate("document.querySelector('#stage img').naturalWidth") == 61
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_a_click_on_the_curve_shows_that_frame(page, report):
    box = page.locator("#chart").bounding_box()
    page.locator("#chart").click(position={"x": box["width"] * 589 / 600, "y": box["height"] / 2})
    j = report[1]["first"].per_frame.query("sequence == 'cow'")["J"].iloc[-1]
    assert page.inner_text("#caption").startswith(f"frame 00007: J {j:.3f}")
    page.locator("#slider").fill("0")
    assert page.inner_text("#caption").startswith("frame 00001:")
    page.select_option("#method", "1")
    assert page.locator("#stage path").count() == 3
    page.uncheck("#annotation")
    assert page.locator("#stage path").count() == 1


def test_the_table_is_sorted_by_a_click_and_a_row_shows_its_sequence(page, report):
    rows = page.locator("#scores tbody tr:not(.overall)")
    for direction in ("ascending", "descending"):
        page.click("th:has-text('F_mean') button")
        assert page.get_attribute("th:has-text('F_mean')", "aria-sort") == direction
        values = [float(row.split("\t")[5]) for row in rows.all_inner_texts()]
        assert values == sorted(values, reverse=direction == "descending")
    assert rows.count() == 4
    rows.filter(has_text="onerror").first.click()
    assert page.inner_text("#title") == EVIL


def test_the_worst_frames_lead_to_the_frame(page):
    page.locator("#worst button").first.click()
    assert page.inner_text("#caption").startswith("frame 00004: J 0.000")
    assert page.locator("#worst h2").count() == 2


def test_names_stay_text(report):
    text = report[0].read_text()
    assert "<img src=x" not in text
    assert "</script><b>" not in text
