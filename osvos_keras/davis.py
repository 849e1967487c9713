"""The data set on disk: DAVIS 2016 and everything laid out like it.

    <root>/JPEGImages/<resolution>/<sequence>/00000.jpg     frames
    <root>/Annotations/<resolution>/<sequence>/00000.png    annotations, 0 or 255
    <root>/ImageSets/<resolution>/<split>.txt               lists of the splits

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", CVPR 2016.
"""

import difflib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from osvos_keras.errors import DataError
from osvos_keras.files import find_input
from osvos_keras.images import image_size, read_frame
from osvos_keras.images import open_image as open_image
from osvos_keras.mask_files import read_annotation
from osvos_keras.mask_files import write_mask as write_mask


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
        if not self._images.is_dir():
            raise DataError(
                f"{self._images}: no such folder. DAVIS_ROOT (or --davis) must name the folder that holds "
                f"JPEGImages/{self.resolution}; `osvos data download` fetches DAVIS 2016, and data/sample "
                "is bundled."
            )

    @property
    def _images(self) -> Path:
        return self.root / "JPEGImages" / self.resolution

    @property
    def _annotations(self) -> Path:
        return self.root / "Annotations" / self.resolution

    def all_sequences(self) -> list[str]:
        """Every sequence that has a folder of frames, sorted."""
        return sorted(folder.name for folder in self._images.iterdir() if folder.is_dir())

    def list_path(self, split: str) -> Path:
        """Where the list of `split` lies: DAVIS 2016's place, or DAVIS 2017's for the 2016 lists."""
        own = self.root / "ImageSets" / self.resolution / f"{split}.txt"
        later = self.root / "ImageSets" / "2016" / f"{split}.txt"
        return later if later.is_file() and not own.is_file() else own

    def sequences(self, split: str) -> list[str]:
        """The sequences of a split (`"train"`, `"val"`), in the order of its list.

        Both kinds of list are read: a sequence a line, or a frame and its annotation a line.

        Raises:
            DataError: no such list, or a line names what does not exist or lies outside the root.
        """
        path = self.list_path(split)
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.txt"))) or "none"
            raise DataError(
                f"{path}: no such list (splits found: {known}). `osvos data lists` writes lists from folders."
            )
        names = {}
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if line.strip():
                names[self._sequence_of_line(line.split(), f"{path}, line {number}")] = None
        if not names:
            raise DataError(f"{path}: the list is empty. Write a sequence a line, or run `osvos data lists`.")
        return list(names)

    def _sequence_of_line(self, fields: Sequence[str], where: str) -> str:
        """The sequence that one line of a list names, every path on it checked."""
        named = [self.root / field.lstrip("/") for field in fields]
        if len(fields) == 1 and "/" not in fields[0]:
            named = [self._images / fields[0]]
        for path in named:
            if not Path(os.path.normpath(path)).is_relative_to(self.root):
                raise DataError(f"{where}: {path} lies outside {self.root}. Remove the line.")
            if not path.exists():
                raise DataError(f"{where}: {path} does not exist. Add it, or remove the line.")
        return named[0].name if named[0].is_dir() else named[0].parent.name

    def select(self, sequences: str | Iterable[str]) -> list[str]:
        """Sequence names from a split, a comma-separated string of names, or names.

        Raises:
            DataError: a name is neither a split nor a sequence.
        """
        if isinstance(sequences, str):
            if self.list_path(sequences).is_file():
                return self.sequences(sequences)
            sequences = [name.strip() for name in sequences.split(",") if name.strip()]
        names = list(sequences)
        for name in names:
            self.frames(name)
        return names

    def frames(self, sequence: str) -> list[Path]:
        """The frames of a sequence, in order.

        Raises:
            DataError: no such sequence, or no frame in it.
        """
        known = self.all_sequences()
        if sequence not in known:
            close = difflib.get_close_matches(sequence, known, n=3) or known[:8]
            raise DataError(
                f"{self._images / sequence}: no such sequence or split; did you mean {', '.join(close)}?"
            )
        frames = sorted((self._images / sequence).glob("*.jpg"))
        if not frames:
            raise DataError(f"{self._images / sequence}: no frame (*.jpg) in this folder.")
        return frames

    def annotation_path(self, frame: Path) -> Path:
        """Where the annotation of a frame lies."""
        return self._annotations / frame.parent.name / f"{frame.stem}.png"

    def annotations(self, sequence: str) -> list[Path]:
        """The annotations of a sequence, one for each frame.

        Raises:
            DataError: a frame has no annotation.
        """
        paths = [self.annotation_path(frame) for frame in self.frames(sequence)]
        for path in paths:
            if not path.is_file():
                raise DataError(f"{path}: no such annotation, though its frame exists. Restore the file.")
        return paths

    def check_sizes(self, sequence: str) -> None:
        """Compare the size of every frame and its annotation, by the files' headers alone.

        Raises:
            DataError: a file is missing or no image, or an annotation differs from its frame.
        """
        for frame, annotation in zip(self.frames(sequence), self.annotations(sequence), strict=True):
            if image_size(annotation) != image_size(frame):
                raise DataError(size_message(annotation, image_size(annotation), image_size(frame)))

    def first(self, sequence: str) -> tuple[np.ndarray, np.ndarray]:
        """What online training may see: the first frame and its annotation, nothing later.

        Returns:
            frame (H, W, 3) uint8 RGB and annotation (H, W) bool with at least one pixel set.

        Raises:
            DataError: a file is missing or unreadable, the sizes differ, or the annotation is empty.
        """
        path = self.frames(sequence)[0]
        frame, annotation = read_frame(path), read_annotation(self.annotation_path(path))
        if frame.shape[:2] != annotation.shape:
            raise DataError(size_message(self.annotation_path(path), annotation.shape, frame.shape[:2]))
        if not annotation.any():
            raise DataError(
                f"{self.annotation_path(path)}: the first annotation is empty, so there is no object to "
                "learn. Mark the object in it, or start the sequence at a frame that shows it."
            )
        return frame, annotation


def size_message(path: Path, found: Sequence[int], expected: Sequence[int]) -> str:
    return (
        f"{path}: {found[1]}×{found[0]} pixels, but its frame has {expected[1]}×{expected[0]}. "
        "Make it again at the frame's size."
    )
