"""The site of a run: built by the real command from small executed notebooks, then read and opened."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections import defaultdict
from pathlib import Path
from urllib.parse import unquote, urlsplit

import cv2
import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from IPython.display import Video
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from osvos_keras.batch.notebooks import COURSE, ONLINE
from osvos_keras.evaluation import STATISTICS
from osvos_keras.io.masks import write_mask
from osvos_keras.io.paths import NOTEBOOKS, PROJECT

# A folder may be called so; nothing of it may be more than text on a page.
HOSTILE = """<img src=x onerror="document.title='alive'"> | [a](b) `c` $d$ *e* {f}`g` &lt; 100% #1"""
SEQUENCES = HOSTILE, "cat", f"cat {HOSTILE}"
PHONE = {"width": 390, "height": 844}
LOADED = "img[src], script[src], video[src], source[src], link[rel=stylesheet], link[rel=icon]"
# What sticks out of the window, but for code, tables and formulas, which scroll inside themselves.
STICKING_OUT = """() => {
    const box = "pre, .table-wrapper, .text_html:has(table), :is(p, div):has(> math)";
    const scrolls = (node) => node.tagName != "ARTICLE" && (scrolls(node.parentElement)
        || node.matches(box) && /auto|scroll/.test(getComputedStyle(node).overflowX));
    return [...document.querySelectorAll("article *")]
        .filter((node) => node.getBoundingClientRect().right > innerWidth + 1 && !scrolls(node.parentElement))
        .map((node) => node.outerHTML.slice(0, 200)).slice(0, 3);
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("run")
    write_run(run_dir)
    result = make_site(run_dir)
    assert result.returncode == 0, result.stderr
    # TensorFlow's remark on its own log starts like a warning of Sphinx.
    warnings = re.findall(r".*(?:ERROR|WARNING): (?!All log messages).*", result.stderr)
    assert warnings == []
    return run_dir / "site"


def make_site(run_dir: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "docs/make_site.py", "--run-dir", str(run_dir)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


def write_run(run_dir: Path) -> None:
    """What a course leaves, in small: executed notebooks, scores, the gallery, videos, a training's masks."""
    video = write_video(run_dir / "overlays" / f"{HOSTILE}.webm")
    for name in ("ant.webm", "ant/half.webm", "ant/result.webm"):
        (run_dir / "segment" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, run_dir / "segment" / name)
    for stem in COURSE:
        for suffix in [f"_{name}" for name in SEQUENCES] if stem == ONLINE else [""]:
            write_notebook(run_dir / "notebooks" / f"{stem}{suffix}.ipynb", stem, video)
    for step in (0, 10, 30):  # the last one is from an earlier training, and has no score
        write_mask(run_dir / f"online/cat/snapshots/{step:05d}.png", np.eye(24, 43, dtype=bool))
    scores = {"J_last_frame_step_10": 0.75, "J_last_frame_step_0": 0.25, "J_mean": 0.5}
    (run_dir / f"notebooks/{ONLINE}_cat.json").write_text(json.dumps(scores))
    evaluation = run_dir / "evaluation"
    evaluation.mkdir()
    (evaluation / "gallery.png").write_bytes(make_png(90))
    scores = pd.DataFrame([[0.51234] * len(STATISTICS)] * len(SEQUENCES), columns=STATISTICS)
    names = ["ant", "1e5", f"{HOSTILE}\n\n<b>NA</b>"]
    scores.assign(sequence=names).to_csv(evaluation / "per_sequence.csv", index=False)
    scores[:1].to_csv(evaluation / "global.csv", index=False)


def write_notebook(path: Path, stem: str, video: Path) -> None:
    table = pd.DataFrame(np.zeros((2, 30)), columns=[f"column{i}" for i in range(30)]).to_html()
    notebook = new_notebook(metadata={"language_info": {"name": "python"}})
    notebook.cells = [
        new_markdown_cell(f"# {stem}\n\n![An opening](figures/{COURSE[0]}.png)\n\n- see *it*;\n- more."),
        new_markdown_cell(
            f"Next: [evaluation]({COURSE[-1]}.ipynb) and [training]({ONLINE}.ipynb).\n\n"
            r"Inline, $\frac{1}{T}\left(\sum_{object} -\log p + \sum_{background} -\log(1-p)\right) = "
            r"\sum_{object} w$, and alone:" + "\n\n$$L = \\frac{N}{T}$$"
        ),
        new_code_cell("figure  # " + 200 * "w", outputs=[show_picture(110)]),
        new_markdown_cell("Blue is the\n*mask*.\n\n## Wide"),
        new_code_cell("table", outputs=[new_output("execute_result", {"text/html": table})]),
        new_code_cell("figure", outputs=[show_picture(120)]),
        new_markdown_cell("The video comes from the run:"),
        *(
            new_code_cell("video", outputs=[new_output("display_data", {"text/html": shown})])
            for shown in (link_video(video), Video(str(video), embed=True)._repr_html_())
        ),
        *find_exercises(stem),
        new_markdown_cell("Three more."),
        new_code_cell("figures", outputs=[show_picture(130), show_picture(140, "An ant"), show_picture(150)]),
    ]
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)


def link_video(video: Path) -> str:
    """What IPython's `Video` shows without `embed=True`; before 9.16 it did not escape the file's name."""
    return f'<video src="{html.escape(str(video))}" controls></video>'


def find_exercises(stem: str) -> list:
    """The project's own cells with solutions."""
    cells = nbformat.read(NOTEBOOKS / f"{stem}.ipynb", nbformat.NO_CONVERT).cells
    return [cell for cell in cells if "BEGIN SOLUTION" in cell.source]


def show_picture(width: int, alt: str | None = None) -> NotebookNode:
    png = base64.b64encode(make_png(width)).decode()
    return new_output("display_data", {"image/png": png}, metadata={"image/png": {"alt": alt} if alt else {}})


def make_png(width: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, 40), "navy").save(file, "png")
    return file.getvalue()


def write_video(path: Path) -> Path:
    """Two seconds of a moving disk, as WebM."""
    path.parent.mkdir()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"VP80"), 10, (96, 64))
    for index in range(20):
        writer.write(cv2.circle(np.zeros((64, 96, 3), np.uint8), (4 * index, 32), 10, (0, 200, 255), -1))
    writer.release()
    assert path.stat().st_size > 500, "OpenCV cannot write WebM here"
    return path


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, BeautifulSoup]:
    return {path: BeautifulSoup(path.read_text(), "html.parser") for path in sorted(site.rglob("*.html"))}


def test_every_page_is_there(site, pages):
    names = {path.relative_to(site).as_posix() for path in pages}
    assert {f"notebooks/{stem}.html" for stem in COURSE} <= names
    assert f"notebooks/{ONLINE}_cat.html" in names
    assert {
        "index.html",
        "data/README.html",
        "data/weights/README.html",
        "CONTRIBUTING.html",
        "docs/results.html",
        "docs/teachers.html",
        "docs/answers.html",
    } <= names
    modules = {path.stem for path in (PROJECT / "osvos_keras").glob("[!_]*.py")}
    assert {f"reference/osvos_keras.{module}.html" for module in modules} <= names


def test_the_front_page_leads_everywhere(site, pages):
    front = pages[site / "index.html"]
    article = front.find("article")
    links = {link["href"] for link in article.select("a[href]")}
    assert {f"notebooks/{stem}.html" for stem in COURSE} <= links
    assert "make course" in article.get_text() and "make test" in article.get_text()
    assert "0.512" in article.find("table").get_text()
    assert article.select_one("img[src$='gallery.png']")


def test_names_are_nothing_but_text(site, pages):
    alive = [(path.name, tag) for path, page in pages.items() for tag in page.select("[onerror], article b")]
    assert alive == []
    front = pages[site / "index.html"]
    for places in (".sd-card-title", 'article p > a[href^="notebooks/"]', "figcaption", ".sidebar-tree"):
        assert any(HOSTILE in place.get_text() for place in front.select(places)), places
    cells = [row.find("td").get_text() for row in front.find("article").select("tbody tr")]
    assert cells == ["ant", "1e5", f"{HOSTILE} <b>NA</b>", "mean"]


def test_links_and_pictures_resolve(pages):
    broken = []
    for path, page in pages.items():
        for tag in page.select(f"a[href], {LOADED}"):
            url = urlsplit(tag.get("src") or tag.get("href"))
            if url.scheme in {"http", "https", "mailto", "data"}:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchor = unquote(url.fragment) if target.suffix == ".html" else ""
            if not target.is_file() or (anchor and not pages[target].find(id=anchor)):
                broken.append(f"{path.name}: {tag}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site, pages):
    loaded = [
        (path.name, tag.get("src") or tag.get("href")) for path in pages for tag in pages[path].select(LOADED)
    ]
    assert loaded
    assert [pair for pair in loaded if pair[1].startswith(("http:", "https:", "//"))] == []
    sheets = list(site.rglob("*.css"))
    assert sheets
    outside = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//")
    assert [sheet.name for sheet in sheets if outside.search(sheet.read_text())] == []


def test_pictures_say_what_they_show(site, pages):
    images = [(path.name, image) for path, page in pages.items() for image in page.select("img")]
    assert [(name, str(image)) for name, image in images if not image.get("alt", "").strip()] == []
    outputs = pages[site / f"notebooks/{COURSE[0]}.html"].select(".cell_output img")
    # The sentence after the first; the second has none after it that does not announce the video. Of the last
    # three, one has words of its own.
    three = ["Three more.", "An ant", "Three more. (picture 2)"]
    assert [image["alt"] for image in outputs] == ["Blue is the mask.", "Wide", *three]


def test_no_two_pictures_of_a_page_are_described_alike(pages):
    for path, page in pages.items():
        pictures = defaultdict(set)
        for image in page.select("img"):
            pictures[image["alt"]].add(image["src"])
        assert [alt for alt, sources in pictures.items() if len(sources) > 1] == [], path.name


def test_a_picture_opens_at_full_size(site, pages):
    outputs = pages[site / f"notebooks/{COURSE[0]}.html"].select(".cell_output img")
    assert [image.parent.get("href") for image in outputs] == [image["src"] for image in outputs]


@pytest.mark.parametrize("path", sorted((NOTEBOOKS / "figures").glob("*.png")), ids=lambda path: path.stem)
def test_figures_are_legible_on_a_phone(path):
    """Their letters have 11 points at 120 dots an inch; a phone has 350 pixels for them: 8 are left."""
    with Image.open(path) as image:
        assert 11 / 72 * 120 * 350 / image.width >= 8


def test_solutions_are_folded(site, pages):
    for stem in COURSE:
        page = pages[site / f"notebooks/{stem}.html"].find("article")
        folded = [details.extract() for details in page.select("details.solution")]
        exercises = find_exercises(stem)
        assert len(folded) == len(exercises) > 0 and not any(details.has_attr("open") for details in folded)
        for details, exercise in zip(folded, exercises, strict=True):
            assert details.find("summary").get_text(strip=True) == "Solution"
            solution = re.split(r"### (?:BEGIN|END) SOLUTION.*", exercise.source)[1]
            assert details.find("pre").get_text().split() == solution.split()
        assert "SOLUTION" not in page.get_text()
        assert page.get_text().count("raise NotImplementedError(") == len(exercises)


def test_pages_of_one_notebook_are_told_apart(site, pages):
    names = [ONLINE, f"{ONLINE}_cat"]
    found = {}
    for sequence, name in zip([*sorted(SEQUENCES)[:1], "cat"], names, strict=True):
        page = pages[site / f"notebooks/{name}.html"]
        assert page.find("h1").get_text().startswith(f"{ONLINE}: {sequence}")
        assert sequence in page.find("title").get_text()
        assert f"{ONLINE}: {sequence}" in {link.get_text() for link in page.select(".sidebar-tree a")}
        found[name] = {link["href"] for link in page.select("article a") if link.get_text() in SEQUENCES}
        assert len(found[name]) == 2
    assert f"{ONLINE}_cat.html" in found[ONLINE]


def test_notebooks_can_be_downloaded(site, pages):
    for stem in COURSE:
        path = site / f"notebooks/{stem}.html"
        files = [path.parent / link["href"] for link in pages[path].select("article a[download]")]
        assert files[0].read_bytes() == (NOTEBOOKS / f"{stem}.ipynb").read_bytes()
        exercises = nbformat.read(files[1], nbformat.NO_CONVERT)
        nbformat.validate(exercises)
        assert len(files) == 2 and "BEGIN SOLUTION" not in "".join(cell.source for cell in exercises.cells)


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="needs a checkout: Git packs its files")
def test_the_project_can_be_downloaded(site, pages):
    (link,) = pages[site / "index.html"].select("article a[download]")
    with zipfile.ZipFile(site / link["href"]) as archive:
        names = set(archive.namelist())
    assert {"osvos-keras/Makefile", f"osvos-keras/notebooks/{ONLINE}.ipynb"} <= names


def test_videos_are_named_and_in_order(site, pages):
    """Results first, the clips that they come from last, and no file that notebook 06 broke."""
    figures = pages[site / "index.html"].select("figure.video")
    captions = [figure.find("figcaption").get_text() for figure in figures]
    assert captions == ["ant: the masks over the clip", HOSTILE, "ant: the clip as it went in"]
    inside = pages[site / f"notebooks/{COURSE[-1]}.html"].select("figure.video")
    assert [figure.find("figcaption").get_text() for figure in inside] == 2 * [
        "The video comes from the run."
    ]
    posters = [figure.find("video")["poster"] for figure in (*figures, *inside)]
    assert len(posters) == 5 and all(poster.startswith("data:image/jpeg;base64,") for poster in posters)


def test_long_names_break(site):
    name = "osvos_<wbr>keras.<wbr>batch.<wbr>each_<wbr>sequence"
    assert f'<span class="pre">{name}</span>' in (site / "reference.html").read_text()


def test_formulas_are_mathml(site, pages):
    page = pages[site / f"notebooks/{COURSE[0]}.html"]
    assert len(page.select("math mfrac")) == 2
    assert "\\frac" not in page.get_text()


def test_docstrings_become_a_reference(site, pages):
    page = pages[site / "reference/osvos_keras.metrics.html"]
    entry = page.find(id="osvos_keras.metrics.contour_accuracy").parent.get_text()
    assert "Parameters" in entry and "Raises" in entry and "tolerance" in entry


def test_a_missing_notebook_runs_the_course_first(tmp_path):
    """A file where the run's folder should be: the course starts, and says that it cannot write."""
    (tmp_path / "run").write_text("")
    result = make_site(tmp_path / "run")
    assert result.returncode == 1
    assert f"no executed {COURSE[0]}" in result.stdout
    assert "cannot write there" in result.stderr


def test_a_failed_notebook_is_named(tmp_path):
    (tmp_path / "notebooks").mkdir()
    for stem in COURSE:
        failed = new_notebook(cells=[new_markdown_cell("# A")], metadata={"papermill": {"exception": True}})
        nbformat.write(failed, tmp_path / "notebooks" / f"{stem}.ipynb")
    result = make_site(tmp_path)
    assert result.returncode == 1
    assert f"{COURSE[0]}.ipynb: this notebook failed" in result.stderr
    assert not (tmp_path / "site").exists()


def test_damaged_scores_are_one_sentence(tmp_path):
    write_run(tmp_path)
    (tmp_path / "evaluation" / "per_sequence.csv").write_text("nothing,here\nx,y\n")
    result = make_site(tmp_path)
    assert result.returncode == 1
    assert f"{tmp_path / 'evaluation'}: its tables are no scores" in result.stderr
    assert "Traceback" not in result.stderr


def test_pages_load_on_a_phone(site, browser):
    """No console error, no request that leaves the site, nothing sticks out."""
    page = browser.new_page()
    page.set_viewport_size(PHONE)
    complaints = []
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url[:200]} failed"))
    page.on(
        "request",
        lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url[:200]),
    )
    for path in sorted(site.rglob("*.html")):
        page.goto(path.as_uri())
        complaints += [f"{path.name} sticks out: {html}" for html in page.evaluate(STICKING_OUT)]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path.name
        assert complaints == [], path.name


@pytest.mark.parametrize("name", ["index.html", f"notebooks/{COURSE[-1]}.html"])
def test_videos_play(site, browser, name):
    page = browser.new_page()
    page.goto((site / name).as_uri())
    videos = page.locator("video")
    assert videos.count() == (3 if name == "index.html" else 2)
    for video in videos.all():
        video.evaluate("video => { video.muted = true; return video.play(); }")
        page.wait_for_function("video => video.currentTime > 0.2", arg=video.element_handle())


def test_the_slider_shows_one_mask_at_a_time(site, browser):
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    stages = page.locator(".growth .stage:visible")
    assert page.locator(".growth").count() == 1 and page.locator(".growth img").count() == 2
    assert stages.all_inner_texts() == ["cat, 0 steps: J 0.250"]
    page.get_by_role("slider").press("ArrowRight")
    assert stages.all_inner_texts() == ["cat, 10 steps: J 0.750"]
    assert page.get_by_role("slider").get_attribute("aria-valuetext") == "cat, 10 steps: J 0.750"
