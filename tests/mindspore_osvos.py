"""OSVOS on MindSpore, from the facts of its model zoo, for test_convert: run by a Python that has MindSpore.

    python mindspore_osvos.py STATE.npz FRAMES.npz FOLDER

writes the checkpoints `parent.ckpt` and `backbone.ckpt`, as MindSpore's own functions save them, and the
logits of each frame, `FRAME.npz`.
"""

import sys
from collections import OrderedDict
from pathlib import Path

import mindspore
import numpy as np
from mindspore import nn, ops

# The stages, as slices of VGG16's layers: a number is the outputs of a convolution, None a pooling.
STAGES = ((64, 64), (None, 128, 128), *[(None, n, n, n) for n in (256, 512, 512)])
MEANS = np.float32([104.00699, 116.66877, 122.67892])  # BGR


def make_stages():
    """Each layer keeps the name that it has in VGG16: a convolution and its ReLU are two places."""
    place, inputs, stages = 0, 3, []
    for stage in STAGES:
        layers = OrderedDict()
        for outputs in stage:
            if outputs is None:
                layers[str(place)] = nn.MaxPool2d(2, 2)  # rounds down
            else:
                layers[str(place)] = convolution(inputs, outputs, 3, has_bias=False)
                place, inputs = place + 1, outputs
                layers[str(place)] = nn.ReLU()
            place += 1
        stages.append(nn.SequentialCell(layers))
    return nn.CellList(stages)


def convolution(inputs, outputs, size, has_bias=True):
    return nn.Conv2d(inputs, outputs, size, pad_mode="pad", padding=size // 2, has_bias=has_bias)


def upsampling(channels, factor):
    return nn.Conv2dTranspose(channels, channels, 2 * factor, stride=factor, pad_mode="pad", has_bias=False)


def crop(x, height, width):
    top, left = x.shape[2] // 2 - height // 2, x.shape[3] // 2 - width // 2
    return x[:, :, top : top + height, left : left + width]


class Osvos(nn.Cell):
    def __init__(self):
        super().__init__()
        self.stages_ms = make_stages()
        self.side_prep_ms = nn.CellList([convolution(stage[-1], 16, 3) for stage in STAGES[1:]])
        self.score_dsn_ms = nn.CellList([convolution(16, 1, 1) for _ in range(4)])
        self.ms_upscale = nn.CellList([upsampling(16, factor) for factor in (2, 4, 8, 16)])
        self.ms_upscale_ = nn.CellList([upsampling(1, factor) for factor in (2, 4, 8, 16)])
        self.fuse = convolution(64, 1, 1)

    def construct(self, x):
        size, sides, upsampled = x.shape[2:], [], []
        x = self.stages_ms[0](x)
        for index in range(4):
            x = self.stages_ms[index + 1](x)
            prep = self.side_prep_ms[index](x)
            upsampled.append(crop(self.ms_upscale[index](prep), *size))
            sides.append(crop(self.ms_upscale_[index](self.score_dsn_ms[index](prep)), *size))
        return [*sides, self.fuse(ops.concat(upsampled, 1))]


def main(state, frames, folder):
    network = Osvos()
    for parameter in network.get_parameters():
        parameter.set_data(mindspore.Tensor(state[parameter.name]))
    # What a training stores beside the network, and what people add to it.
    optimizer = nn.Adam(network.trainable_params(), learning_rate=[1e-4, 1e-5], use_nesterov=True)
    extra = {"epoch": 7, "lr": 1e-4, "loss": 0.5, "note": "best"}
    mindspore.save_checkpoint(optimizer, str(folder / "parent.ckpt"), append_dict=extra, crc_check=True)
    halves = [
        {"name": name.split(".", 2)[2], "data": mindspore.Tensor(value).astype(mindspore.bfloat16)}
        for name, value in state.items()
        if name.startswith("stages_ms")
    ]
    mindspore.save_checkpoint(halves, str(folder / "backbone.ckpt"))
    names = ("side2", "side3", "side4", "side5", "fused")
    for name, frame in frames.items():
        x = (frame[..., ::-1] - MEANS).transpose(2, 0, 1)[None]
        logits = network(mindspore.Tensor(np.ascontiguousarray(x)))
        np.savez(
            folder / f"{name}.npz", **{key: x.asnumpy()[0, 0] for key, x in zip(names, logits, strict=True)}
        )


if __name__ == "__main__":
    main(*(dict(np.load(path)) for path in sys.argv[1:3]), Path(sys.argv[3]))
