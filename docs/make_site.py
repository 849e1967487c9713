"""`make site`: the course, the library's reference and the model cards as a static site.

The pages are gathered in a temporary folder with the layout of the project, so that links between
notebooks, figures and cards hold, and Sphinx makes HTML of them. It executes nothing: the notebooks
are those that `osvos course` left in the run folder, and where one is missing, the course runs first.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import quote

import nbformat
import pandas as pd
from growth import draw_growth
from jinja2 import Environment, FileSystemLoader
from lessons import (
    Lesson,
    Page,
    add_links,
    fold_solutions,
    list_executed,
    name_sequence,
    plan_pages,
    read_lesson,
)
from media import caption_video, describe_pictures, draw_poster, list_videos, show_videos
from site_text import escape_markdown, join_lines
from sphinx.cmd.build import build_main

from osvos_keras.batch.notebooks import COURSE
from osvos_keras.batch.parameters import read_notebook
from osvos_keras.course.copies import list_notebooks, read_course, write_copies
from osvos_keras.course.student import write_student_edition
from osvos_keras.errors import DataError, NotebookError, OsvosError
from osvos_keras.io.files import list_files, make_folder
from osvos_keras.io.paths import NOTEBOOKS, PROJECT, find_input, resolve_output

DOCS = Path(__file__).parent
CARDS = ("README.md", "CONTRIBUTING.md", "data/README.md", "data/weights/README.md")
ARCHIVE = "osvos-keras.zip"
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
        videos = [video for video in list_videos(run_dir) if not is_copy(site, video)]
        gather_pages(run_dir, source, videos)
        if build_main(["-q", "-b", "html", "-d", f"{folder}/doctrees", str(source), str(html)]):
            raise NotebookError(f"{run_dir}: Sphinx could not make pages of its notebooks, see above.")
        if site.exists():
            shutil.rmtree(site)
        html.rename(site)
    return site


def is_copy(site: Path, path: Path) -> bool:
    """Whether a file lies in the site, or in one whose build was killed."""
    return site in path.parents or any(folder.name.startswith(TEMPORARY) for folder in path.parents)


def gather_pages(run_dir: Path, source: Path, videos: list[Path]) -> None:
    """Everything that Sphinx reads, in the project's layout; `extra` becomes the top of the site."""
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
    shutil.copytree(NOTEBOOKS / "figures", source / "notebooks/figures")
    guides = [path.relative_to(PROJECT).as_posix() for path in list_files(DOCS, ".md")]
    for page in (*CARDS, *guides):
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / page, source / page)
    extra = source / "extra"
    values = {"guides": [guide.removesuffix(".md") for guide in guides], "archive": write_downloads(extra)}
    write_pages(source, values | gather_run(run_dir, source, extra, videos))


def gather_run(run_dir: Path, source: Path, extra: Path, videos: list[Path]) -> dict[str, object]:
    """Copy what the run left into the site.

    Returns:
        what the front page shows of it.
    """
    gallery = run_dir / "evaluation/gallery.png"
    if gallery.exists():
        shutil.copy(gallery, source)
    copies = {video: Path("videos") / video.relative_to(run_dir) for video in videos}
    for video, copy in copies.items():
        (extra / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(video, extra / copy)
    pages = plan_pages(run_dir / "notebooks", [path.stem for path in list_notebooks()])
    return {
        "lessons": list(gather_lessons(pages, source / "notebooks", copies)),
        "gallery": gallery.exists(),
        "growths": list(draw_growth(run_dir, pages, extra)),
        "scores": read_scores(run_dir / "evaluation"),
        "videos": [
            (quote(copy.as_posix()), draw_poster(video), caption_video(video))
            for video, copy in copies.items()
        ],
    }


def write_pages(source: Path, values: dict[str, object]) -> None:
    """The front page and that of the reference, by their templates."""
    templates = Environment(loader=FileSystemLoader(DOCS / "templates"), keep_trailing_newline=True)
    templates.filters.update(text=escape_markdown, line=join_lines)
    for page, shown in {"index.md": values, "reference.md": {"modules": list_modules()}}.items():
        (source / page).write_text(templates.get_template(page).render(shown), encoding="utf-8")


def write_downloads(extra: Path) -> Path | None:
    """The notebooks as files, with and without solutions, and the project's committed files as one.

    Returns:
        the project's archive; None where Git does not make one.
    """
    write_copies(extra / "notebooks", read_course())
    write_student_edition(extra / "exercises")
    for folder in ("notebooks", "exercises"):
        shutil.rmtree(extra / folder / "figures")
    if not (PROJECT / ".git").exists() or not shutil.which("git"):
        return None
    archive = extra / ARCHIVE
    options = ["--format=zip", "-0", f"--prefix={archive.stem}/", f"--output={archive}"]
    made = subprocess.run(["git", "-C", PROJECT, "archive", *options, "HEAD"])
    return archive if made.returncode == 0 else None


def gather_lessons(pages: Sequence[Page], folder: Path, videos: dict[Path, Path]) -> Iterator[Lesson]:
    """Write the executed notebooks as pages into `folder`."""
    for page in pages:
        notebook = read_notebook(page.executed)
        if notebook.metadata.get("papermill", {}).get("exception"):
            raise NotebookError(
                f"{page.executed}: this notebook failed when it ran. Run it again (osvos course)."
            )
        show_videos(notebook, partial(find_video, page.executed, videos))
        describe_pictures(notebook, page.sequence)
        name_sequence(notebook, page.sequence)
        lesson = read_lesson(notebook, page)
        fold_solutions(notebook)
        add_links(notebook, page, pages)
        nbformat.write(notebook, folder / f"{page.name}.ipynb")
        yield lesson


def find_video(notebook: Path, videos: dict[Path, Path], source: str) -> tuple[Path, str]:
    """A video that a notebook shows, and the path from the notebook's page to the video's copy."""
    for path in (notebook.parent / source, find_input(source)):
        if path.resolve() in videos:
            return path, quote(f"../{videos[path.resolve()].as_posix()}")
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
