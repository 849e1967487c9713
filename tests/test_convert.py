"""Published weights: three layouts, the same probabilities as their own networks', an error for any other.

Their networks are written out here from the facts: with `keras.ops`, so that every run compares with
them; with PyTorch, where that is installed; and with MindSpore, in `mindspore_osvos.py`.
"""

import os
import subprocess
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import ops

from osvos_keras.config import OnlineConfig, ParentConfig
from osvos_keras.conventions import OSVOS_MINDSPORE, OSVOS_PYTORCH, OURS
from osvos_keras.convert.layouts import BACKBONE, convert_weights, find_layout, map_layers
from osvos_keras.convert.readers import Checkpoint
from osvos_keras.errors import WeightsError
from osvos_keras.io.files import sha256
from osvos_keras.io.images import read_frame
from osvos_keras.io.paths import PROJECT
from osvos_keras.model import OUTPUTS, build_osvos
from osvos_keras.multihost import Processes
from osvos_keras.trained import WEIGHTS_FILE, load_finished
from osvos_keras.training import train_online, train_parent
from osvos_keras.weights import find_conventions
from tests.checkpoint_files import add_checksum, write_mindspore, write_safetensors
from tests.conftest import call, stop_at

DEPTHS = (2, 2, 3, 3, 3)
MEANS = np.float32([104.00699, 116.66877, 122.67892])  # BGR
SIZES = [(64, 96), (49, 83), (48, 86)]  # whole, odd, and with what 480 × 854 leaves over
VGG16_PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


# ---- A synthetic parent, and its forward pass


def bilinear(channels, factor):
    """(channels, channels, 2·factor, 2·factor): each channel to itself, bilinear."""
    distance = np.abs(np.arange(2 * factor) - factor + 0.5) / factor
    kernel = np.zeros((channels, channels, 2 * factor, 2 * factor), np.float32)
    kernel[range(channels), range(channels)] = np.outer(1 - distance, 1 - distance)
    return kernel


def stage_places(stage):
    """Where a stage's convolutions stand: a pooling first, but in stage 0, and a ReLU after each."""
    return [2 * index + (stage > 0) for index in range(DEPTHS[stage])]


@pytest.fixture(scope="module")
def state():
    """An OSVOS-PyTorch state dict: VGG16's real convolutions, branches at random."""
    vgg16 = iter([layer for layer in build_osvos("imagenet").layers if layer.name in BACKBONE])
    tensors = {}
    for stage in range(5):
        for place in stage_places(stage):
            kernel, bias = next(vgg16).get_weights()
            tensors[f"stages.{stage}.{place}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
            tensors[f"stages.{stage}.{place}.bias"] = bias
    random = np.random.default_rng(0)
    # Kernels of `side_prep` that bring each side's logits to about one: deep features are weaker.
    for index, (inputs, strength) in enumerate([(128, 1.5e-4), (256, 1e-4), (512, 2.5e-4), (512, 3e-3)]):
        factor = 2 ** (index + 1)
        for name, shape, scale in (
            ("side_prep", (16, inputs, 3, 3), strength),
            ("score_dsn", (1, 16, 1, 1), 0.3),
        ):
            tensors[f"{name}.{index}.weight"] = random.normal(0, scale, shape).astype(np.float32)
            tensors[f"{name}.{index}.bias"] = random.normal(0, 0.3, shape[0]).astype(np.float32)
        tensors[f"upscale.{index}.weight"] = bilinear(16, factor)
        tensors[f"upscale_.{index}.weight"] = bilinear(1, factor)
    tensors["fuse.weight"] = random.normal(0, 0.3, (1, 64, 1, 1)).astype(np.float32)
    tensors["fuse.bias"] = np.float32([-0.4])
    return tensors


def convolve(x, state, name, outside=0.0):
    """3×3 or 1×1; what lies outside is zero, or `outside`, one value a channel."""
    kernel = state[f"{name}.weight"].transpose(2, 3, 1, 0)
    reach = len(kernel) // 2
    pad = [[0, 0], [reach, reach], [reach, reach], [0, 0]]
    x = ops.pad(x - outside, pad) + outside
    return ops.conv(x, kernel) + state.get(f"{name}.bias", np.float32(0))


def upsample(x, kernel, factor, height, width, mindspore=False):
    """Transposed convolution, then the centre of it; MindSpore halves both sizes before it subtracts."""
    x = ops.conv_transpose(x, kernel.transpose(2, 3, 1, 0), strides=factor)
    if mindspore:
        top, left = x.shape[1] // 2 - height // 2, x.shape[2] // 2 - width // 2
    else:
        top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
    return x[:, top : top + height, left : left + width]


def backbone_features(state, x, outside=0.0, mindspore=False):
    """The last features of every stage. The pooling counts a window that is cut off at the edge.

    MindSpore's leaves it out.
    """
    features = []
    for stage in range(5):
        if stage:
            x = ops.max_pool(x, 2, 2, padding="valid" if mindspore else "same")
        for place in stage_places(stage):
            x = ops.relu(convolve(x, state, f"stages.{stage}.{place}", outside))
            outside = 0.0
        features.append(x)
    return features


def forward(state, frame, mindspore=False):
    """Their forward pass: RGB frame (H, W, 3) → logits of the four sides and the fused ones, (H, W)."""
    height, width = frame.shape[:2]
    x = frame[None, ..., ::-1].astype(np.float32) - MEANS
    sides, upsampled = [], []
    for index, features in enumerate(backbone_features(state, x, mindspore=mindspore)[1:]):
        prep = convolve(features, state, f"side_prep.{index}")
        score = convolve(prep, state, f"score_dsn.{index}")
        size = (2 ** (index + 1), height, width, mindspore)
        upsampled.append(upsample(prep, state[f"upscale.{index}.weight"], *size))
        sides.append(upsample(score, state[f"upscale_.{index}.weight"], *size))
    fused = convolve(ops.concatenate(upsampled, -1), state, "fuse")
    return {name: np.asarray(x)[0, ..., 0] for name, x in zip(OUTPUTS, [*sides, fused], strict=True)}


def map_tensors(tensors):
    """This network's layers of a dict of tensors, without a file."""
    checkpoint = Checkpoint("parent.pth", dict(tensors))
    return map_layers(checkpoint, find_layout(checkpoint))


@pytest.fixture(scope="module")
def parent(state, tmp_path_factory):
    """The weights file of a conversion. (MindSpore's container holds any names, and needs no PyTorch.)"""
    folder = tmp_path_factory.mktemp("parent")
    source = write_mindspore(folder / "parent.pth", state)
    return convert_weights(source, folder / "parent.weights.h5").path


@pytest.fixture(scope="module")
def network(parent):
    return build_osvos(parent)


def run(network, frame):
    return {name: np.asarray(logits)[0, ..., 0] for name, logits in network(frame[None]).items()}


def photograph(height, width):
    return read_frame(PROJECT / "data/sample/JPEGImages/480p/cat/00000.jpg")[100:, 100:][:height, :width]


def assert_same_probabilities(ours, theirs, atol=1e-5):
    for name in OUTPUTS:
        found, expected = (1 / (1 + np.exp(-logits[name])) for logits in (ours, theirs))
        assert np.ptp(expected) > 0.2
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=name)


# ---- The same function


@pytest.mark.parametrize("size", SIZES)
def test_same_probabilities_as_their_forward_pass_at_every_pixel(state, network, size):
    frame = photograph(*size)
    assert_same_probabilities(run(network, frame), forward(state, frame))


def test_our_conventions_would_not_do(state, network):
    """Or the comparison above could not tell: with the same weights, the edge and more are different."""
    ours = build_osvos(None)
    ours.set_weights(network.get_weights())
    frame = photograph(49, 83)
    with pytest.raises(AssertionError, match="side2"):
        assert_same_probabilities(run(ours, frame), forward(state, frame), atol=0.1)


@pytest.mark.slow
def test_full_size_frame(state, network):
    frame = read_frame(PROJECT / "data/sample/JPEGImages/480p/cat/00000.jpg")
    assert frame.shape == (480, 854, 3)
    assert_same_probabilities(run(network, frame), forward(state, frame))


# ---- Files


OPTIMIZER_STATE = {
    "moments.layers.0.weight": np.zeros((64, 3, 3, 3), np.float32),
    "moment1.fuse.bias": np.zeros(1, np.float32),
    "beta1_power": np.array(0.5, np.float32),
    "learning_rate": np.float32([0.1, 0.2]),
    "global_step": np.array([7], np.int32),
}


@pytest.fixture(scope="module")
def mindspore_state(state):
    """The names of MindSpore's OSVOS; its backbone has no biases."""
    tensors, places = {}, iter(VGG16_PLACES)
    for stage in range(5):
        for place in stage_places(stage):
            tensors[f"stages_ms.{stage}.{next(places)}.weight"] = state[f"stages.{stage}.{place}.weight"]
    names = {"side_prep": "side_prep_ms", "score_dsn": "score_dsn_ms"}
    names |= {"upscale": "ms_upscale", "upscale_": "ms_upscale_", "fuse": "fuse"}
    for name, value in state.items():
        kind, _, rest = name.partition(".")
        if kind in names:
            tensors[f"{names[kind]}.{rest}"] = value
    return tensors


@pytest.fixture(scope="module")
def vgg16_state(state):
    """MindSpore's VGG16: RGB, no biases, a classifier."""
    kernels = [state[f"stages.{stage}.{place}.weight"] for stage in range(5) for place in stage_places(stage)]
    tensors = {f"layers.{place}.weight": kernel for place, kernel in zip(VGG16_PLACES, kernels, strict=True)}
    return {**tensors, "classifier.0.weight": np.zeros((5, 4), np.float32)}


def without_biases(state):
    return {
        name: 0 * value if "stages" in name and "bias" in name else value for name, value in state.items()
    }


@pytest.mark.parametrize("size", [*SIZES, (55, 71)])
def test_mindspore_osvos_is_the_same_network_with_its_own_poolings_and_crop(
    state, mindspore_state, tmp_path, size
):
    path = write_mindspore(tmp_path / "parent.ckpt", {**mindspore_state, **OPTIMIZER_STATE}, slices=3)
    target = convert_weights(path, tmp_path / "parent.weights.h5").path
    assert find_conventions(target) == OSVOS_MINDSPORE
    frame, bare = photograph(*size), without_biases(state)
    ours = run(build_osvos(target), frame)
    assert_same_probabilities(ours, forward(bare, frame, mindspore=True))
    if size != SIZES[0]:
        with pytest.raises(AssertionError):  # or the comparison could not tell
            assert_same_probabilities(ours, forward(bare, frame), atol=0.1)


@pytest.fixture(scope="module")
def mindspore_python():
    python = os.environ.get("MINDSPORE_PYTHON")
    return python or pytest.skip(
        "needs a Python with MindSpore (pip install mindspore 'numpy<2'), of which "
        "MINDSPORE_PYTHON is the path"
    )


@pytest.mark.slow
def test_real_mindspore_checkpoint_gives_the_probabilities_of_mindspore(
    mindspore_python, mindspore_state, tmp_path
):
    """A checkpoint that MindSpore wrote, with an optimizer, notes and a checksum, and one of bfloat16."""
    whole = read_frame(PROJECT / "data/sample/JPEGImages/480p/cat/00000.jpg")
    sizes = [(480, 854), (480, 848), (45, 61), (240, 427)]
    frames = {f"{height}x{width}": whole[:height, :width] for height, width in sizes[:2]}
    frames |= {f"{height}x{width}": photograph(height, width) for height, width in sizes[2:]}
    np.savez(tmp_path / "state.npz", **mindspore_state)
    np.savez(tmp_path / "frames.npz", **frames)
    script = Path(__file__).with_name("mindspore_osvos.py")
    subprocess.run(
        [mindspore_python, script, "state.npz", "frames.npz", "."],
        # Its oneDNN has no fast convolution for AVX-512: 100 times as long.
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "PYTHONPATH": ""},
        cwd=tmp_path,
        check=True,
    )
    done = convert_weights(tmp_path / "parent.ckpt", tmp_path / "parent.weights.h5")
    assert "lr, loss, epoch, note, 82 of an optimizer" in str(done)
    network = build_osvos(done.path)
    for name, frame in frames.items():
        assert_same_probabilities(run(network, frame), np.load(tmp_path / f"{name}.npz"))
    halves = convert_weights(tmp_path / "backbone.ckpt", tmp_path / "backbone.weights.h5")
    assert str(halves).startswith("MindSpore VGG16: 13 layers")
    found = build_osvos(halves.path).get_layer("block5_conv3").kernel
    kernel = mindspore_state["stages_ms.4.28.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(found, kernel.astype(ml_dtypes.bfloat16).astype(np.float32))


def convert_backbone(tensors, folder, **options):
    """A network of our conventions, through the whole conversion, and the features of its blocks."""
    source = write_mindspore(folder / "backbone.ckpt", tensors)
    network = build_osvos(convert_weights(source, folder / "backbone.weights.h5", **options).path)
    assert network.get_layer("prepare").conventions == OURS
    layers = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3")
    return network, keras.Model(network.input, [network.get_layer(layer).output for layer in layers])


def assert_same_features(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        scale = np.asarray(theirs).max()
        assert scale > 1
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-5)


def assert_branches_at_random(network):
    start = build_osvos("imagenet")
    for name in ("side2_prep", "side5_score", "side3_fuse"):
        np.testing.assert_array_equal(network.get_layer(name).kernel, start.get_layer(name).kernel)


def test_vgg16_has_its_own_features_times_one_number(state, vgg16_state, tmp_path):
    """It was trained on RGB, normalized; here it is fed BGR, 0–255, and answers 57 times as strongly."""
    network, backbone = convert_backbone(vgg16_state, tmp_path)
    bare = {name: value for name, value in state.items() if name.endswith("weight")}
    mean = 255 * np.float32([0.485, 0.456, 0.406])
    deviation = 255 * np.float32([0.229, 0.224, 0.225])
    frame = photograph(48, 64)
    outside = (np.float32(OURS.means)[::-1] - mean) / deviation
    expected = backbone_features(bare, (frame[None] - mean) / deviation, outside)
    assert_same_features(backbone(frame[None]), [deviation.mean() * x for x in expected])
    assert_branches_at_random(network)


def test_backbone_only_keeps_our_conventions_and_has_its_features(state, tmp_path):
    """To the pixel where its own mean colour lay outside the frame too, instead of ours."""
    trained = {**state, "upscale.1.weight": state["upscale.1.weight"] + 0.1}
    network, backbone = convert_backbone(trained, tmp_path, backbone_only=True)
    frame = photograph(48, 64)
    expected = backbone_features(state, frame[None, ..., ::-1] - MEANS, np.float32(OURS.means) - MEANS)
    assert_same_features(backbone(frame[None]), expected)
    assert_branches_at_random(network)


# ---- The conventions stay with the weights


@pytest.mark.parametrize("half", [False, True])
def test_weights_file_records_the_conventions(state, tmp_path, half):
    source = write_mindspore(tmp_path / "parent.pth", state)
    target = convert_weights(source, tmp_path / "parent.weights.h5", half=half).path
    assert find_conventions(target) == OSVOS_PYTORCH
    assert target.stat().st_size < 31e6 if half else target.stat().st_size > 59e6
    stored = {name: value.astype(np.float16 if half else np.float32) for name, value in state.items()}
    frame = photograph(49, 83)
    theirs = forward({name: value.astype(np.float32) for name, value in stored.items()}, frame)
    assert_same_probabilities(run(build_osvos(target), frame), theirs)


def test_training_keeps_the_conventions(parent, tiny, tmp_path):
    """Killed, resumed, finished, loaded: every network and every file has them."""
    settings = OnlineConfig(height=0, steps=3, seed=1)
    options = {"weights": parent, "policy": "float32", "progress": False, "chunk": 1}
    with pytest.raises(KeyboardInterrupt):
        train_online(tiny, "cow", settings, tmp_path, callbacks=[stop_at(2)], **options)
    assert find_conventions(tmp_path / "backup" / "latest.weights.h5") == OSVOS_PYTORCH
    trained = train_online(tiny, "cow", settings, tmp_path, **options)
    assert find_conventions(tmp_path / WEIGHTS_FILE) == OSVOS_PYTORCH
    frame = tiny.first("cow")[0]
    expected = run(trained, frame)
    for again in (load_finished(tmp_path), train_online(tiny, "cow", settings, tmp_path, **options)):
        np.testing.assert_array_equal(run(again, frame)["fused"], expected["fused"])
    assert np.abs(run(build_osvos(parent), frame)["fused"] - expected["fused"]).max() > 1e-3  # it did train


def test_process_that_is_not_the_first_builds_the_same_network(parent, tiny, tmp_path):
    """It does not read the finished weights: their values come from rank 0, the conventions do not."""
    (tmp_path / WEIGHTS_FILE).touch()
    config, options = ParentConfig(height=0, batch=2), {"policy": "float32", "processes": Processes(1, 2)}
    other = train_parent(tiny, ["ant", "bee"], config, tmp_path, weights=parent, **options)
    assert other.get_layer("prepare").conventions == OSVOS_PYTORCH


def test_command_converts_to_half_and_says_what_it_did(vgg16_state, tmp_path, capsys):
    """The names as the original's script left them, a checksum as newer MindSpores append it."""
    short = {name.removeprefix("layers."): value for name, value in vgg16_state.items()}
    source = write_mindspore(tmp_path / "vgg16.ckpt", {**short, **OPTIMIZER_STATE})
    add_checksum(source)
    target = tmp_path / "sub" / "vgg16.weights.h5"
    assert call(["weights", "convert", str(source), "--to", str(target), "--half"]) == 0
    printed = capsys.readouterr().out
    assert "MindSpore VGG16: 13 layers; the branches start at random" in printed
    assert "no part of the network: classifier.0.weight, 5 of an optimizer\n" in printed
    assert f"sha256 {sha256(target)}" in printed
    assert target.stat().st_size < 30e6
    expected = map_tensors(vgg16_state)["block4_conv2"][0]
    found = build_osvos(target).get_layer("block4_conv2").kernel
    np.testing.assert_array_equal(found, np.float16(expected))
    assert [path.name for path in target.parent.iterdir()] == [target.name]


# ---- Errors


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda s: without(s, "stages.2.3.weight"),
            r"no tensor stages\.2\.3\.weight of shape \(256, 256, 3, 3\)",
        ),
        (lambda s: without(s, "fuse.bias"), r"no tensor fuse\.bias of shape \(1,\)"),
        (
            lambda s: {**s, "side_prep.1.weight": np.zeros((16, 128, 3, 3))},
            r"side_prep\.1\.weight has the shape \(16, 128, 3, 3\), but \(16, 256, 3, 3\) is needed",
        ),
        (lambda s: {**s, "score_dsn.3.bias": np.float32([np.nan])}, r"score_dsn\.3\.bias holds a NaN"),
        (
            lambda s: {**s, "upscale_.2.weight": 1.01 * s["upscale_.2.weight"]},
            r"upscale_\.2\.weight is not bilinear.*--backbone-only",
        ),
        (
            lambda s: {**s, "attention.weight": np.zeros(3)},
            r"attention\.weight belongs to no layer of OSVOS-Py",
        ),
        (lambda s: {"features.0.weight": s["stages.0.0.weight"]}, r"no known layout .*features\.0\.weight"),
        (lambda s: {}, r"no known layout .* are none"),
    ],
)
def test_any_other_state_is_an_error_that_names_the_layer(state, change, text):
    with pytest.raises(WeightsError, match=rf"parent\.pth: .*{text}"):
        map_tensors(change(state))


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
def test_safetensors_file_is_converted(state, parent, tmp_path, prefix):
    """Also of a network that `DataParallel` or `torch.compile` had wrapped."""
    wrapped = {f"{prefix}{name}": value for name, value in state.items()}
    source = write_safetensors(tmp_path / "parent.safetensors", wrapped)
    done = convert_weights(source, tmp_path / "parent.weights.h5")
    assert str(done).startswith("OSVOS-PyTorch: 26 layers\n") and "unused" not in str(done)
    np.testing.assert_equal(build_osvos(done.path).get_weights(), build_osvos(parent).get_weights())


def test_numbers_beside_the_weights_are_left_and_named(mindspore_state, tmp_path):
    notes = {"epoch": np.array(7), "lr": np.array(0.1, np.float32), "val.loss": np.float32([0.5])}
    source = write_mindspore(tmp_path / "noted.ckpt", {**mindspore_state, **notes, **OPTIMIZER_STATE})
    done = convert_weights(source, tmp_path / "noted.weights.h5")
    assert "Left unused, as no part of the network: lr, val.loss, epoch, 5 of an optimizer\n" in str(done)


def test_weight_beyond_half_is_an_error(vgg16_state, tmp_path):
    huge = {**vgg16_state, "layers.28.weight": vgg16_state["layers.28.weight"] + 1e6}
    source = write_mindspore(tmp_path / "huge.ckpt", huge)
    with pytest.raises(WeightsError, match="beyond float16's range"):
        convert_weights(source, tmp_path / "huge.weights.h5", half=True)
    assert [path.name for path in tmp_path.iterdir()] == ["huge.ckpt"]


# ---- With PyTorch


@pytest.fixture(scope="module")
def torch_network(torch, state):
    """Their network, its parameters named by where they stand."""
    nn = torch.nn
    widths = (3, 64, 128, 256, 512, 512)

    def stage(index):
        layers = [nn.MaxPool2d(2, 2, ceil_mode=True)] if index else []
        for depth in range(DEPTHS[index]):
            inputs = widths[index + 1] if depth else widths[index]
            layers += [nn.Conv2d(inputs, widths[index + 1], 3, padding=1), nn.ReLU()]
        return nn.Sequential(*layers)

    def crop(x, height, width):
        top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
        return x[:, :, top : top + height, left : left + width]

    def upsampling(channels, factor):
        return nn.ConvTranspose2d(channels, channels, 2 * factor, stride=factor, bias=False)

    class Osvos(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleList(stage(index) for index in range(5))
            self.side_prep = nn.ModuleList(nn.Conv2d(width, 16, 3, padding=1) for width in widths[2:])
            self.score_dsn = nn.ModuleList(nn.Conv2d(16, 1, 1) for _ in range(4))
            self.upscale = nn.ModuleList(upsampling(16, factor) for factor in (2, 4, 8, 16))
            self.upscale_ = nn.ModuleList(upsampling(1, factor) for factor in (2, 4, 8, 16))
            self.fuse = nn.Conv2d(64, 1, 1)

        def forward(self, x):
            size, sides, upsampled = x.shape[2:], [], []
            x = self.stages[0](x)
            for index in range(4):
                x = self.stages[index + 1](x)
                prep = self.side_prep[index](x)
                upsampled.append(crop(self.upscale[index](prep), *size))
                sides.append(crop(self.upscale_[index](self.score_dsn[index](prep)), *size))
            return [*sides, self.fuse(torch.cat(upsampled, 1))]

    network = Osvos()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return network


def torch_forward(torch, network, frame):
    x = np.ascontiguousarray((frame[..., ::-1] - MEANS).transpose(2, 0, 1))[None]
    with torch.no_grad():
        return {name: x[0, 0].numpy() for name, x in zip(OUTPUTS, network(torch.from_numpy(x)), strict=True)}


def test_pth_gives_the_probabilities_of_a_pytorch_forward_pass(torch, torch_network, tmp_path):
    torch.save(torch_network.state_dict(), tmp_path / "parent.pth")
    done = convert_weights(tmp_path / "parent.pth", tmp_path / "parent.weights.h5")
    assert str(done).startswith("OSVOS-PyTorch: 26 layers\n")
    network = build_osvos(tmp_path / "parent.weights.h5")
    for size in SIZES:
        frame = photograph(*size)
        assert_same_probabilities(run(network, frame), torch_forward(torch, torch_network, frame))


@pytest.mark.parametrize("size", SIZES)
def test_literal_forward_pass_is_pytorchs(torch, torch_network, state, size):
    frame = photograph(*size)
    theirs, literal = torch_forward(torch, torch_network, frame), forward(state, frame)
    for name in OUTPUTS:
        np.testing.assert_allclose(literal[name], theirs[name], atol=1e-4)
