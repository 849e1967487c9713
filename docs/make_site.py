"""`make site`: the course, the library's reference and the model cards as a static site.

The pages are gathered in a temporary folder with the layout of the project, so that links between
notebooks, figures and cards hold, and Sphinx makes HTML of them. It executes nothing: the notebooks
are those that `osvos course` left in the run folder, and where one is missing, the course runs first.
"""

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import nbformat
import pandas as pd
from jinja2 import Environment, FileSystemLoader
from lessons import Lesson, describe_pictures, read_lesson, relink_videos
from sphinx.cmd.build import build_main

from osvos_keras.batch.notebooks import COURSE
from osvos_keras.batch.parameters import read_notebook
from osvos_keras.errors import DataError, NotebookError, OsvosError
from osvos_keras.io.files import list_files, make_folder
from osvos_keras.io.paths import NOTEBOOKS, PROJECT, find_input, resolve_output

DOCS = Path(__file__).parent
CARDS = ("README.md", "CONTRIBUTING.md", "data/README.md", "data/weights/README.md")
VIDEOS = {".webm", ".mp4"}
TEMPORARY = ".site-"


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the site of a run.")
    parser.add_argument("--run-dir", default="runs/course", help="the course's run (default: %(default)s)")
    parser.add_argument("--to", help="where the site goes (default: site/ in the run's folder)")
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the reference imports TensorFlow
    run_dir = resolve_output(args.run_dir)
    try:
        require_course(run_dir)
        site = build_site(run_dir, resolve_output(args.to) if args.to else run_dir / "site")
    except OsvosError as error:
        sys.exit(f"make_site: error: {error}")
    print(f"Open {site / 'index.html'}")


def require_course(run_dir: Path) -> None:
    """Run the course unless each of its notebooks was executed in `run_dir`, for any sequence."""
    folder = run_dir / "notebooks"
    missing = [stem for stem in COURSE if not list_executed(folder, stem)]
    if missing:
        print(f"{folder}: no executed {', '.join(missing)}; running the course first.", flush=True)
        command = [sys.executable, "-m", "osvos_keras.cli", "course", "--run-dir", run_dir]
        if subprocess.run(command).returncode:
            raise NotebookError("the course did not finish, see above; the site needs its notebooks.")


def build_site(run_dir: Path, site: Path) -> Path:
    """Build the site of a run; an earlier one at the same place is replaced when all went well."""
    make_folder(site.parent)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=site.parent) as folder:
        source, html = Path(folder, "source"), Path(folder, "html")
        gather_pages(run_dir, source, list_videos(run_dir, site))
        if build_main(["-q", "-b", "html", "-d", f"{folder}/doctrees", str(source), str(html)]):
            raise NotebookError(f"{run_dir}: Sphinx could not make pages of its notebooks, see above.")
        if site.exists():
            shutil.rmtree(site)
        html.rename(site)
    return site


def list_videos(run_dir: Path, site: Path) -> list[Path]:
    """The run's videos, but for their copies in its site or in one whose build was killed."""
    return [
        path
        for path in sorted(run_dir.rglob("*"))
        if path.suffix in VIDEOS
        and path.is_file()
        and site not in path.parents
        and not any(folder.name.startswith(TEMPORARY) for folder in path.parents)
    ]


def gather_pages(run_dir: Path, source: Path, videos: list[Path]) -> None:
    """Everything that Sphinx reads, in the project's layout."""
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
    shutil.copytree(NOTEBOOKS / "figures", source / "notebooks/figures")
    guides = [path.relative_to(PROJECT).as_posix() for path in list_files(DOCS, ".md")]
    for page in (*CARDS, *guides):
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / page, source / page)
    gallery = run_dir / "evaluation/gallery.png"
    if gallery.exists():
        shutil.copy(gallery, source)
    copies = {video: Path("videos") / video.relative_to(run_dir) for video in videos}
    copy_videos(copies, source / "extra")
    lessons = list(gather_lessons(run_dir / "notebooks", source / "notebooks", copies))
    templates = Environment(loader=FileSystemLoader(DOCS / "templates"), keep_trailing_newline=True)
    templates.filters.update(text=escape_markdown, line=join_lines)
    render = {
        "index.md": {
            "lessons": lessons,
            "guides": [guide.removesuffix(".md") for guide in guides],
            "gallery": gallery.exists(),
            "scores": read_scores(run_dir / "evaluation"),
            "videos": [(quote(copy.as_posix()), copy.as_posix()) for copy in copies.values()],
        },
        "reference.md": {"modules": list_modules()},
    }
    for page, values in render.items():
        (source / page).write_text(templates.get_template(page).render(values), encoding="utf-8")


def copy_videos(copies: dict[Path, Path], extra: Path) -> None:
    """Copy videos to their paths in `extra`, which becomes the top of the site."""
    extra.mkdir()
    for video, copy in copies.items():
        (extra / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, extra / copy)


def gather_lessons(executed: Path, pages: Path, videos: dict[Path, Path]) -> Iterator[Lesson]:
    """Write the executed notebooks as pages.

    Of a notebook that ran once a sequence, the first is the page that the others link to. A page is named
    by letters, digits, `_` and `-`, whatever its sequence is called.
    """
    names = set()
    for stem in (path.stem for path in list_files(NOTEBOOKS, ".ipynb")):
        for path in list_executed(executed, stem):
            notebook = read_notebook(path)
            if notebook.metadata.get("papermill", {}).get("exception"):
                raise NotebookError(f"{path}: this notebook failed when it ran. Run it again (osvos course).")
            describe_pictures(notebook)
            relink_videos(notebook, partial(find_video, path, videos))
            repeats = stem in names
            page = make_page_name(path.stem, names) if repeats else stem
            names.add(page)
            nbformat.write(notebook, pages / f"{page}.ipynb")
            yield read_lesson(notebook, page, path.stem[len(stem) + 1 :], repeats)


def list_executed(folder: Path, stem: str) -> list[Path]:
    """The executed copies of a notebook, one for each sequence where it ran for several."""
    return [path for path in list_files(folder, ".ipynb") if path.stem.startswith(stem)]


def make_page_name(name: str, taken: set[str]) -> str:
    """A name for a page that needs no quoting anywhere, other than those that are taken."""
    plain = re.sub(r"[^\w-]+", "-", name)
    candidates = itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def escape_markdown(text: str) -> str:
    """Text that reads as it stands in Markdown, on one line: no HTML, link, table or emphasis."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", join_lines(text))


def join_lines(text: str) -> str:
    return " ".join(text.split())


def find_video(notebook: Path, videos: dict[Path, Path], source: str) -> str:
    """The path from a notebook's page to the copy of a video that the notebook shows."""
    for path in (notebook.parent / source, find_input(source)):
        if path.resolve() in videos:
            return quote(f"../{videos[path.resolve()].as_posix()}")
    raise NotebookError(
        f"{notebook}: shows the video {source}, which is not in its run's folder. Run the notebook again."
    )


def read_scores(evaluation: Path) -> str:
    """The run's scores as a Markdown table, the mean of all sequences last; empty where there are none.

    Raises:
        DataError: a table of the evaluation is damaged.
    """
    if not (evaluation / "per_sequence.csv").exists():
        return ""
    try:
        scores = pd.read_csv(evaluation / "per_sequence.csv", converters={"sequence": str})
        names = [*map(escape_markdown, scores.pop("sequence")), "**mean**"]
        table = pd.concat([scores, pd.read_csv(evaluation / "global.csv")]).apply(pd.to_numeric)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{evaluation}: its tables are no scores ({error}). Run notebook 05 again."
        ) from error
    table.insert(0, "sequence", names)
    table = table.rename(columns=escape_markdown)
    return table.to_markdown(index=False, floatfmt=".3f", disable_numparse=[0])


def list_modules() -> list[str]:
    """The library's modules, and those of the packages in it."""
    paths = (path.relative_to(PROJECT) for path in (PROJECT / "osvos_keras").rglob("*.py"))
    names = (".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths)
    return sorted(name for name in names if not name.endswith("__main__"))


if __name__ == "__main__":
    main()
