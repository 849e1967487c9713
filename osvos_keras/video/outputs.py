"""Checks of `osvos segment` and `osvos mark` before they write anything: no output may replace an input."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from osvos_keras.errors import ConfigError
from osvos_keras.io.paths import find_input
from osvos_keras.video.clip import clip_name, find_source
from osvos_keras.video.pictures import list_images

PREVIEWS = "marked"  # the folder of a run for pictures of what is marked


def check_places(
    source: str | Path, given: Iterable[str | Path], run_dir: Path, outputs: Sequence[Path]
) -> None:
    """Check that no input of a run lies where the run writes.

    Args:
        source: the clip.
        given: the other input files: masks, corrections, weights.
        run_dir: where frames, networks and masks go.
        outputs: the other files that the run writes.

    Raises:
        ConfigError: an output is an input, or lies among the inputs or the run's own files.
        VideoError: there is no such clip.
    """
    source, given = find_source(source), [find_input(path) for path in given]
    images = list_images(source) if source.is_dir() else []
    name = clip_name(source)
    for path in given:
        if any(path.samefile(image) for image in images):
            raise ConfigError(
                f"{path}: lies among the frames, so it would be used as a frame. Move it elsewhere."
            )
    for folder in (run_dir / "clip", run_dir / "masks" / name, run_dir / "online" / name, run_dir / PREVIEWS):
        for path in (source, *given, *outputs):
            if path.is_relative_to(folder):
                raise ConfigError(
                    f"{path}: lies in {folder}, where this run writes. Move it elsewhere, or choose another "
                    "folder (--run-dir)."
                )
    for path in (run_dir, *outputs):
        if images and path.is_relative_to(source):
            raise ConfigError(
                f"{path}: would be written among the frames of the clip. Choose another place (--out, "
                "--run-dir)."
            )
    for path in outputs:
        _check_output(path, [*(images or [source]), *given])


def _check_output(path: Path, inputs: Sequence[Path]) -> None:
    if not path.exists():
        return
    if not path.is_file():
        raise ConfigError(
            f"{path}: exists and is not a file, so no video or picture can replace it. Choose another --out."
        )
    if any(path.samefile(one) for one in inputs):
        raise ConfigError(f"{path}: is one of the inputs, and would be overwritten. Choose another --out.")
