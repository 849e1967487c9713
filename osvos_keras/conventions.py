"""What a network takes the outside of a frame for: our conventions, and those of the published networks.

Weights learn the conventions that they were trained under, so a weights file says which they are, and
the network that is built for them keeps to these. A file that says nothing is of ours.
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
            halves them; where it is 1, every pooling rounds an odd size up.
        border: how often upsampling repeats the coarse values beyond the frame; where it is 0, zeros
            lie there, towards which the outputs fade along the edge.
        centred: whether upsampling, where its last cell overhangs the frame, is cropped on both sides
            alike, which moves the output by half of that; else at the end alone.
    """

    name: str
    means: tuple[float, float, float]
    grid: int
    border: int
    centred: bool

    def pad(self, size: int) -> int:
        """A height or a width of a frame, padded; a tensor gives a tensor."""
        return size + -size % self.grid

    def record(self, store: MutableMapping) -> None:
        """Write the name into a group of a weights file, as bytes; ours goes without saying."""
        if self != OURS:
            store[RECORD] = np.frombuffer(self.name.encode(), np.uint8)


# Four poolings halve a frame exactly; bilinear resizing up to the edge. Keras Applications' means.
OURS = Conventions("osvos-keras", (103.939, 116.779, 123.68), grid=16, border=1, centred=False)
# As it trains and runs: S. Caelles and K.-K. Maninis, OSVOS-PyTorch.
OSVOS_PYTORCH = Conventions(
    "osvos-pytorch", (104.00699, 116.66877, 122.67892), grid=1, border=0, centred=True
)
CONVENTIONS = {one.name: one for one in (OURS, OSVOS_PYTORCH)}


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
