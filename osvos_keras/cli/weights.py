"""The commands for weights: `osvos weights convert` and `osvos export`."""

import argparse

HOW_TO_OPEN = {
    ".keras": "import keras, osvos_keras.model; model = keras.models.load_model({path!r})",
    ".onnx": "import onnxruntime; session = onnxruntime.InferenceSession({path!r})",
    "": "import tensorflow; model = tensorflow.saved_model.load({path!r})  # model.serve(frames)",
}


def add_convert_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos weights convert`."""
    command.add_argument("source", help="the checkpoint; its kind is recognized by its content")
    command.add_argument("--to", required=True, metavar="FILE.weights.h5", help="the file to write")
    command.add_argument("--half", action="store_true", help="store float16: half the size")
    command.add_argument(
        "--backbone-only",
        action="store_true",
        help="convert only VGG16's convolutions; the branches get random weights",
    )


def run_convert(args: argparse.Namespace) -> None:
    """Convert OSVOS-PyTorch's weights, or MindSpore's OSVOS or VGG16 (.pth, .ckpt, .safetensors)."""
    from osvos_keras.convert.layouts import convert_weights

    print(convert_weights(args.source, args.to, half=args.half, backbone_only=args.backbone_only))


def add_export_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `osvos export`."""
    command.add_argument("weights", metavar="WEIGHTS", help="parent, or the weights of a training (a file)")
    command.add_argument(
        "--to", required=True, metavar="PATH", help="FILE.keras, FILE.onnx, or a folder for a SavedModel"
    )


def run_export(args: argparse.Namespace) -> None:
    """Write a trained network for other programs: a Keras file, a SavedModel or ONNX."""
    from osvos_keras.convert.export import export_network

    path = export_network(args.weights, args.to)
    print(path)
    print(f"Open it in Python: {HOW_TO_OPEN[path.suffix].format(path=str(path))}")
    if settings := _find_settings(args.weights):
        print(f"Show it frames as its training did ({settings}; height 0: the frames' own).")


def _find_settings(weights: str) -> str | None:
    """How the training saw frames whose folder the weights lie in."""
    from osvos_keras.io.paths import find_input
    from osvos_keras.io.records import dict_in, read_record
    from osvos_keras.trained import RECORD, WEIGHTS_FILE

    path = find_input(weights)
    record = read_record(path.parent / RECORD) if path.name == WEIGHTS_FILE else None
    config = dict_in(dict_in(record, "made_with"), "config")
    return f"height {config.get('height', 0)}, window {config.get('window', 0)}" if config else None
