"""The files of a clip outside its run folder: they never replace an input, and are written once."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from osvos_keras.errors import ConfigError
from osvos_keras.io.files import clear_temporaries, sha256
from osvos_keras.io.kept import checksums, keep_others
from osvos_keras.io.paths import find_input
from osvos_keras.io.records import dict_in, read_record, write_record
from osvos_keras.video.clip import Clip, clip_name, find_source
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
        ConfigError: an output is an input or another output, or lies among the inputs or the run's own files.
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
    trained = (run_dir / stage / name for stage in ("online", "corrected"))
    for folder in (run_dir / "clip", run_dir / "masks" / name, *trained, run_dir / PREVIEWS):
        for path in (source, *given, *outputs):
            _check_outside(path, folder)
    for path in outputs:
        _check_outside(path, run_dir / "masks")  # records lie there
    for path in (run_dir, *outputs):
        if images and path.is_relative_to(source):
            raise ConfigError(
                f"{path}: would be written among the frames of the clip. Choose another place (--out, "
                "--run-dir)."
            )
    for index, path in enumerate(outputs):
        _check_output(path, [*(images or [source]), *given])
        if path in outputs[:index]:
            raise ConfigError(f"{path}: two outputs of this run would have this name. Choose another one.")


def _check_outside(path: Path, folder: Path) -> None:
    if path.is_relative_to(folder):
        raise ConfigError(
            f"{path}: lies in {folder}, where this run writes. Move it elsewhere, or choose another "
            "folder (--run-dir)."
        )


def _check_output(path: Path, inputs: Sequence[Path]) -> None:
    if not path.exists():
        return
    if not path.is_file():
        raise ConfigError(
            f"{path}: exists and is not a file, so no output can replace it. Choose another name."
        )
    if any(path.samefile(one) for one in inputs):
        raise ConfigError(f"{path}: is one of the inputs, and would be overwritten. Choose another name.")


def write_once(clip: Clip, masks: Path, kind: str, files: Sequence[Path], write: Callable[..., None]) -> None:
    """Make files of a clip and its masks by `write(*files)`, unless an earlier call made them of the same.

    Any other file that exists at their paths is renamed. The record is `<masks>_<kind>.json`.

    Args:
        clip: the clip.
        masks: the folder of its masks.
        kind: what the files are.
        files: their paths.
        write: writes them.

    Warns:
        VideoWarning: an existing file was renamed.
    """
    record_file = masks.with_name(f"{masks.name}_{kind}.json")
    shown = sha256(*(masks / f"{path.stem}.png" for path in clip.frames))
    made_with = {"clip_sha256": clip.sha256, "masks_sha256": shown, "times": clip.times}
    record = read_record(record_file, made_with)
    if record is None or record.get("files") != checksums(files):
        keep_others(files, dict_in(read_record(record_file), "files"))
        for path in files:
            clear_temporaries(path.parent, path.name)  # other runs may write to the same folder
        write_record(record_file, made_with, files={str(path): None for path in files})  # begun
        write(*files)
        write_record(record_file, made_with, files=checksums(files))
