"""The data set on disk: DAVIS 2016 and everything laid out like it.

    <root>/JPEGImages/<resolution>/<sequence>/00000.jpg     frames; PNG and other kinds too
    <root>/Annotations/<resolution>/<sequence>/00000.png    annotations, 0 or 255
    <root>/ImageSets/<resolution>/<split>.txt               lists of the splits

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", CVPR 2016.
"""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from osvos_keras.errors import DataError
from osvos_keras.io.files import check_text, list_files, natural_key, require_regular
from osvos_keras.io.images import SUFFIXES, image_size, read_frame
from osvos_keras.io.masks import read_annotation, size_message
from osvos_keras.io.paths import check_name, find_input
from osvos_keras.lists import read_list

NO_SEQUENCES = ("__MACOSX", "__pycache__")


@dataclass(frozen=True)
class Davis:
    """A data set in DAVIS layout.

    Args:
        root: the folder that holds `JPEGImages`, `Annotations` and `ImageSets`; a relative
            path counts from the working folder or from the project's.
        resolution: `"480p"` or `"1080p"`, the name of the folder below those three.

    Raises:
        DataError: there is no such folder.
    """

    root: Path
    resolution: str = "480p"

    def __post_init__(self):
        object.__setattr__(self, "root", find_input(self.root))
        check_name(self.resolution, "the resolution")
        if not self._images.is_dir():
            images = self._images.parent
            found = ", ".join(_list_folders(images)[:5] if images.is_dir() else []) or "none"
            raise DataError(
                f"{self._images}: no such folder (resolutions found: {found}; RESOLUTION or --resolution "
                f"names one). DAVIS_ROOT (or --davis) must name the folder that holds JPEGImages/"
                f"{self.resolution}; `osvos data download` fetches DAVIS 2016, and data/sample is bundled."
            )

    @property
    def _images(self) -> Path:
        return self.root.joinpath("JPEGImages", self.resolution)

    def all_sequences(self) -> list[str]:
        """Every sequence that has a folder of frames, in order, as `frame2` before `frame10`.

        Raises:
            DataError: there is none.
        """
        names = _list_folders(self._images)
        if not names:
            raise DataError(f"{self._images}: no sequence. Put a folder of frames there for each.")
        return names

    def list_path(self, split: str) -> Path:
        """Where the list of `split` lies, or would lie: as in DAVIS 2016 or 2017, or the original OSVOS."""
        places = f"ImageSets/{self.resolution}/{split}.txt", f"ImageSets/2016/{split}.txt"
        paths = [self.root / place for place in (*places, f"{split}.txt", f"{split}_seqs.txt")]
        return next((path for path in paths if path.is_file()), paths[0])

    def sequences(self, split: str) -> list[str]:
        """The sequences of a split (`"train"`, `"val"`), in the order of its list.

        Raises:
            DataError: there is no such list, or as `read_list`.
        """
        check_name(split, "the split")
        path = self.list_path(split)
        if not path.is_file():
            known = ", ".join(found.stem for found in list_files(path.parent, ".txt")) or "none"
            raise DataError(
                f"{path}: no such list (splits found: {known}). `osvos data lists --davis {self.root} --val "
                "A,B` writes the lists from the folders, A and B for validation."
            )
        return self.read_list(path)

    def read_list(self, path: str | Path) -> list[str]:
        """The sequences that a list names, each once, in its order.

        Raises:
            DataError: the list is empty or no text, or a line names what does not exist or lies outside the
                root.
        """
        names = read_list(path, self.root, self._images)
        if not names:
            raise DataError(
                f"{path}: the list is empty. Write one sequence per line, or run `osvos data lists`."
            )
        return names

    def splits(self) -> dict[str, list[str]]:
        """The sequences of `"train"` and of `"val"`; none where there is no list, or nothing in it.

        Raises:
            DataError: a list names what does not exist.
        """
        paths = {split: self.list_path(split) for split in ("train", "val")}
        return {
            split: read_list(path, self.root, self._images) if path.is_file() else []
            for split, path in paths.items()
        }

    def select(self, sequences: str | Iterable[str]) -> list[str]:
        """Sequence names from a split, the path of a list (`….txt`), names with commas between, or names.

        Raises:
            DataError: none is named, one is named twice, or a name is neither a split nor a sequence.
        """
        if isinstance(sequences, str):
            if sequences.endswith(".txt"):
                return self.read_list(find_input(sequences))
            names = [name.strip() for name in sequences.split(",") if name.strip()]
            for name in names:
                check_name(name, "the sequence")
            if len(names) == 1 and self.list_path(names[0]).is_file():
                return self.sequences(names[0])
        else:
            names = list(sequences)
        if not names:
            raise DataError(
                f"{sequences!r} names no sequence. Give a split (train, val), or names with commas between."
            )
        for name, count in Counter(names).items():
            if count > 1:
                raise DataError(f"the sequence {name} is named {count} times. Name it once.")
            self.frames(name)
        if others := set(names).difference(self.all_sequences()):  # a file system that takes Cat for cat
            raise self._unknown(others.pop())
        return names

    def frames(self, sequence: str) -> list[Path]:
        """The frames of a sequence, in the order of the numbers in their names.

        Raises:
            DataError: no such sequence, no frame in it, two frames of one name (`1.jpg`, `1.png`), or a frame
                that is no regular file.
        """
        check_name(sequence, "the sequence")
        folder = self._images / sequence
        if not folder.is_dir():
            raise self._unknown(sequence)
        frames = list_files(folder, *SUFFIXES)
        if not frames:
            raise DataError(f"{folder}: no image in this folder, so no frame. Add them as JPEG or PNG.")
        _require_whole(folder, frames)
        return frames

    def _unknown(self, sequence: str) -> DataError:
        known = self.all_sequences()
        close = difflib.get_close_matches(sequence, known, n=3) or known[:8]
        return DataError(
            f"{self._images / sequence}: no such sequence or split; did you mean {', '.join(close)}?"
        )

    def annotation_path(self, frame: Path) -> Path:
        """Where the annotation of a frame lies, or would lie: `.png`, or `.PNG` if that is there."""
        path = self.root.joinpath("Annotations", self.resolution, frame.parent.name, f"{frame.stem}.png")
        return path if path.is_file() or not (loud := path.with_suffix(".PNG")).is_file() else loud

    def known_annotations(self, sequence: str) -> dict[Path, Path]:
        """The annotations that are there, each by its frame: of OSVOS's task, the first alone.

        Raises:
            DataError: as `frames`.
        """
        pairs = {frame: self.annotation_path(frame) for frame in self.frames(sequence)}
        return {frame: path for frame, path in pairs.items() if path.exists()}

    def input_files(self, sequence: str) -> list[Path]:
        """The frames of a sequence, then the annotations that are there; raises as `first_files`."""
        frames = self.frames(sequence)
        annotations = [self.annotation_path(frame) for frame in frames]
        if not annotations[0].exists():
            self.first_files(sequence)  # raises
        return [*frames, *(path for path in annotations if path.exists())]  # planning counts every listing

    def annotations(self, sequence: str) -> list[Path]:
        """The annotations of a sequence, one for each frame.

        Raises:
            DataError: a frame has no annotation.
        """
        paths = [self.annotation_path(frame) for frame in self.frames(sequence)]
        missing = [path for path in paths if not path.exists()]
        if missing:
            raise DataError(
                f"{missing[0]}: no such annotation, though its frame exists ({len(missing)} of {len(paths)} "
                "are missing). Add them: to train a parent and to score, every frame needs one; to train "
                "online, the first frame alone."
            )
        return paths

    def check_sizes(self, sequence: str) -> None:
        """Compare the size of every frame with that of its annotation.

        Raises:
            DataError: a file is missing or no image, or an annotation differs from its frame.
        """
        for frame, annotation in zip(self.frames(sequence), self.annotations(sequence), strict=True):
            if image_size(annotation) != image_size(frame):
                raise DataError(size_message(annotation, image_size(annotation), image_size(frame)))

    def first_files(self, sequence: str) -> tuple[Path, Path]:
        """The first frame and its annotation, without which there is no object to follow.

        Raises:
            DataError: unknown sequence, or the annotation is missing.
        """
        frame = self.frames(sequence)[0]
        annotation = self.annotation_path(frame)
        if not annotation.exists():
            raise DataError(f"{annotation}: no such file. Mark the object of the first frame in it.")
        return frame, annotation

    def first(self, sequence: str) -> tuple[np.ndarray, np.ndarray]:
        """What online training may see: the first frame and its annotation, nothing later.

        Returns:
            frame (H, W, 3) uint8 RGB and annotation (H, W) bool with at least one pixel set.

        Raises:
            DataError: a file is missing or unreadable, the sizes differ, or the annotation is empty.
        """
        frame_path, path = self.first_files(sequence)
        frame, annotation = read_frame(frame_path), read_annotation(path)
        if frame.shape[:2] != annotation.shape:
            raise DataError(size_message(path, annotation.shape, frame.shape[:2]))
        if not annotation.any():
            raise DataError(
                f"{path}: the first annotation is empty, so there is no object to "
                "learn. Mark the object in it, or start the sequence at a frame that shows it."
            )
        return frame, annotation


def _list_folders(folder: Path) -> list[str]:
    """The names of the folders in a folder, in order, without hidden ones and what macOS's archives leave."""
    names = (
        found.name
        for found in folder.iterdir()
        if found.name[0] != "." and found.name not in NO_SEQUENCES and found.is_dir()
    )
    return sorted(names, key=natural_key)


def _require_whole(folder: Path, frames: Sequence[Path]) -> None:
    """See that every image of a folder is among `frames`, and that no two masks will have one name."""
    require_regular(folder, frames, *SUFFIXES)
    for path in frames:
        check_text(path)
    for stem, count in Counter(path.stem.casefold() for path in frames).items():
        if count > 1:  # on Windows and macOS also if one is in upper case
            names = ", ".join(path.name for path in frames if path.stem.casefold() == stem)
            raise DataError(
                f"{folder}: {names} are {count} frames of one name, so their masks would be one file. Keep "
                "one of them; a mask belongs elsewhere."
            )
