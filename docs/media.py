"""Pictures and videos on a page: what they show, in words, and where they lie."""

import base64
import io
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from PIL import Image
from site_text import first_paragraph, list_inlines, plain_text

from osvos_keras.errors import VideoError
from osvos_keras.plots.frames import shrink
from osvos_keras.video.codec import read_video

ALT_LENGTH = 250
POSTER_WIDTH = 640  # pixels
VIDEOS = {".webm", ".mp4"}
BROKEN = "half.webm"  # notebook 06 breaks this file on purpose


def describe_pictures(notebook: NotebookNode, sequence: str = "") -> None:
    """Give every picture an alt text of its own; a picture that shares its cell gets a cell.

    A picture's own words are in its output's metadata, where nbconvert looks for them, too. Otherwise the
    sentences around the cell describe it: the notebooks say after a picture what it shows, and before its
    code what it is to show. Pictures that share these words are numbered.

    Args:
        notebook: changed in place.
        sequence: what the notebook ran for, if it ran once per sequence.
    """
    cells, described, used = notebook.cells, [], Counter()
    for index, cell in enumerate(cells):
        parts = list(_split_pictures(cell)) if cell.cell_type == "code" else [cell]
        described += parts
        for part in parts if cell.cell_type == "code" else ():
            alt = _own_alt(part) or _text_after(cells[index + 1 :]) or _text_before(cells[:index])
            alt = f"{sequence}: {alt}" if sequence else alt
            alt = textwrap.shorten(alt, ALT_LENGTH, placeholder=" …")
            used[alt] += any(map(_find_picture, part.outputs))
            alt += f" (picture {used[alt]})" if used[alt] > 1 else ""
            part.metadata.setdefault("mystnb", NotebookNode()).image = {"alt": alt, "scale": "100%"}
    notebook.cells = described


def show_videos(notebook: NotebookNode, find_copy: Callable[[str], tuple[Path, str]]) -> None:
    """Show every video with its first frame and a caption; one that is not embedded is its copy in the site.

    Args:
        notebook: changed in place.
        find_copy: from the `src` of a video to the file, and to the `src` of its copy.
    """
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            html = BeautifulSoup(output.get("data", {}).get("text/html", ""), "html.parser")
            for video in html.select("video"):
                source = video if video.has_attr("src") else video.source
                if source["src"].startswith("data:"):
                    video["poster"] = _draw_embedded_poster(source["src"])
                else:
                    path, source["src"] = find_copy(source["src"])
                    video["poster"] = draw_poster(path)
                _add_caption(html, video, _text_before(notebook.cells[:index]))
                output["data"]["text/html"] = str(html)


def draw_poster(video: Path) -> str:
    """The first frame of a video as a data URI; empty where there is none."""
    try:
        first = next(read_video(video))
    except VideoError:
        return ""
    file = io.BytesIO()
    Image.fromarray(shrink(first.image, POSTER_WIDTH)).save(file, "jpeg")
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _draw_embedded_poster(uri: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video"
        video.write_bytes(base64.b64decode(uri.partition(",")[2]))
        return draw_poster(video)


def list_videos(run_dir: Path) -> list[Path]:
    """The videos in a run's folder in the order of the site: results, others, the clips they come from."""
    videos = [path for path in sorted(run_dir.rglob("*")) if path.suffix in VIDEOS and path.is_file()]
    return sorted((path for path in videos if path.name != BROKEN), key=lambda path: _rank(path)[0])


def caption_video(path: Path) -> str:
    """What a video of a run shows, by its place in the run's folder."""
    return _rank(path)[1]


def _rank(path: Path) -> tuple[int, str]:
    if path.stem == "result":
        return 0, f"{path.parent.name}: the masks over the clip"
    if path.with_suffix("").is_dir():  # a clip, and beside it the folder of its results
        return 2, f"{path.stem}: the clip as it went in"
    return 1, path.stem


def _add_caption(html: BeautifulSoup, video: Tag, text: str) -> None:
    caption = html.new_tag("figcaption")
    caption.string = text.partition(". ")[0].rstrip(".:") + "."
    figure = video.wrap(html.new_tag("figure", attrs={"class": "video"}))
    figure.append(caption)


def _split_pictures(cell: NotebookNode) -> Iterator[NotebookNode]:
    """The cell with its first picture, and a cell without code for each further picture."""
    outputs, cell.outputs = cell.outputs, []
    for output in outputs:
        if _find_picture(output) and any(map(_find_picture, cell.outputs)):
            yield cell
            cell = new_code_cell("# a cell without code is left out", metadata={"tags": ["remove-input"]})
        cell.outputs.append(output)
    yield cell


def _find_picture(output: NotebookNode) -> str | None:
    """The MIME type of the picture in an output."""
    return next((kind for kind in output.get("data", {}) if kind.startswith("image/")), None)


def _own_alt(cell: NotebookNode) -> str:
    kinds = ((output, _find_picture(output)) for output in cell.outputs)
    return next((output.metadata.get(kind, {}).get("alt", "") for output, kind in kinds if kind), "")


def _text_after(cells: list[NotebookNode]) -> str:
    """The first paragraph of the next cell, if that begins with a paragraph."""
    if not cells or cells[0].cell_type != "markdown":
        return ""
    text = first_paragraph(cells[0].source)
    # A last sentence that ends in a colon announces the next picture.
    return text.rpartition(". ")[0] if text.endswith(":") else text


def _text_before(cells: list[NotebookNode]) -> str:
    """The last text above."""
    texts = (list_inlines(cell.source) for cell in reversed(cells) if cell.cell_type == "markdown")
    return next((plain_text(lines[-1]) for lines in texts if lines), "")
