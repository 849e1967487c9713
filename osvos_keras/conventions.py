"""How a network treats the border of a frame: padding, means, upsampling; ours and others' conventions.

Weights depend on the conventions that they were trained with. A weights file therefore records them, and
the network is built with the conventions of its weights. A file without a record has our conventions.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

import numpy as np

RECORD = "conventions"  # the data set, in a layer's group of a weights file, that holds the name


@dataclass(frozen=True)
class Conventions:
    """How a frame is prepared, and what its upsampled outputs are like along its edge.

    Attributes:
        name: what a weights file records.
        means: subtracted from the frame, in the order BGR; convolutions pad with zeros, so this is
            also the colour outside the frame.
        grid: frames are padded to multiples of this, at the bottom and the right, before the network
            halves them.
        least: rows and columns that a frame is padded to at least.
        pooling: Keras's padding of the poolings: "same" rounds an odd size up, "valid" down.
        border: how often upsampling repeats the coarse values beyond the frame; where it is 0, zeros
            lie there, towards which the outputs fade along the edge.
        extra: upsampling gives more rows than the frame has, and they are cropped on both sides alike;
            where their number is odd, `extra` is how many more of them go at the top, 0 or 1. Columns
            are treated alike.
    """

    name: str
    means: tuple[float, float, float]
    grid: int
    least: int
    pooling: str
    border: int
    extra: int

    def pad(self, size: int) -> int:
        """The padded height or width of a frame of this height or width: a number, or a tensor."""
        small = (self.least - 1) // size  # 0 from `least` on
        # No `-size % grid`: tf2onnx's remainder of a negative number is not Python's.
        return (size + self.grid - 1) // self.grid * self.grid + self.least * small

    def crop(self, upsampled: int, covered: int, size: int) -> int:
        """How many of the upsampled rows lie above a frame of `size` rows; a tensor gives a tensor.

        `covered` is how many rows of the frame the coarse rows cover: their number times the factor. Where
        frames are padded to a grid, these are the rows of the padded frame.
        """
        kept = covered if self.grid > 1 else self.pad(size)
        return (upsampled - kept + self.extra) // 2

    def record(self, store: MutableMapping) -> None:
        """Write the name into a group of a weights file, as bytes. Our own conventions need no entry."""
        if self != OURS:
            store[RECORD] = np.frombuffer(self.name.encode(), np.uint8)


# Four poolings halve a frame exactly; bilinear resizing up to the edge. Keras Applications' means.
OURS = Conventions(
    "osvos-keras", (103.939, 116.779, 123.68), grid=16, least=1, pooling="same", border=1, extra=0
)
# As it trains and runs: S. Caelles and K.-K. Maninis, OSVOS-PyTorch.
OSVOS_PYTORCH = Conventions(
    "osvos-pytorch", (104.00699, 116.66877, 122.67892), grid=1, least=1, pooling="same", border=0, extra=0
)
# As MindSpore's model zoo runs it. Of fewer than 16 rows its four poolings would leave nothing.
OSVOS_MINDSPORE = Conventions(
    "osvos-mindspore", OSVOS_PYTORCH.means, grid=1, least=16, pooling="valid", border=0, extra=1
)
CONVENTIONS = {one.name: one for one in (OURS, OSVOS_PYTORCH, OSVOS_MINDSPORE)}


def read_record(store: Mapping) -> Conventions:
    """The conventions that a group of a weights file records.

    Raises:
        ValueError: they are unknown.
    """
    if RECORD not in store.keys():  # noqa: SIM118 (Keras's store has no `in` of its own in every version)
        return OURS
    name = np.asarray(store[RECORD]).tobytes().decode()
    if name not in CONVENTIONS:
        raise ValueError(f"its conventions are {name}, and those known here are {', '.join(CONVENTIONS)}.")
    return CONVENTIONS[name]
