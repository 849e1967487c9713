"""The files that a training leaves in its folder, and what another training there does with them.

<folder>/osvos.weights.h5    the network, once the training has finished
<folder>/config.json         the record of what decided it
<folder>/history.csv         its losses
<folder>/backup/             while it is unfinished
<folder>/replaced/<date>/    the files of trainings with other settings: nothing is deleted
"""

from datetime import datetime
from pathlib import Path

import keras
from tqdm import tqdm

from osvos_keras.config import POLICIES, InferenceConfig
from osvos_keras.device import choose_policy
from osvos_keras.errors import WeightsError
from osvos_keras.io.files import clear_temporaries
from osvos_keras.io.paths import resolve_output
from osvos_keras.io.records import dict_in, read_record, write_record
from osvos_keras.model import build_osvos
from osvos_keras.weights import set_aside

WEIGHTS_FILE, RECORD = "osvos.weights.h5", "config.json"
LEFT = (WEIGHTS_FILE, RECORD, "history.csv", "backup")


def load_finished(folder: str | Path) -> keras.Model:
    """The network that a finished training left in `folder`. It carries its training's `inference` settings.

    Raises:
        WeightsError: there is no finished training, or its weights are damaged.
    """
    folder = resolve_output(folder)
    try:
        made_with = read_record(folder / RECORD)["made_with"]
        policy, config = choose_policy(made_with["policy"]), made_with["config"]
        inference = InferenceConfig(config["height"], config.get("window", 0))
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # ConfigError is a ValueError
        raise WeightsError(f"{folder / RECORD}: no record of a training. Train there first.") from error
    if not (folder / WEIGHTS_FILE).is_file():
        raise WeightsError(f"{folder / WEIGHTS_FILE}: no such file; the training there is unfinished.")
    model = build_osvos(folder / WEIGHTS_FILE, policy=policy)
    model.inference = inference
    return model


def load_or_start(folder: Path, made_with: dict, **notes) -> keras.Model | None:
    """The network that such a training left in the folder; None if it must start or go on.

    Files of a training with other settings, and damaged weights, are set aside, with a message.
    """
    for part in (folder, folder / "backup"):
        clear_temporaries(part)
    if not read_record(folder / RECORD, made_with):
        aside = _set_aside(folder)
        if aside:
            changes = _changes(aside, made_with)
            tqdm.write(f"{folder}: another training was here ({changes}). It is set aside in {aside}.")
        write_record(folder / RECORD, made_with, **notes)
    elif (folder / WEIGHTS_FILE).is_file():
        try:
            return load_finished(folder)
        except WeightsError as error:
            set_aside(folder / WEIGHTS_FILE, error)
    return None


def _set_aside(folder: Path) -> Path | None:
    """Move the files of a training into a folder named by the date; None if there are none."""
    left = [folder / name for name in LEFT if (folder / name).exists()]
    if not left:
        return None
    aside = folder / "replaced" / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
    aside.mkdir(parents=True)
    for path in left:
        path.rename(aside / path.name)
    return aside


def _changes(folder: Path, made_with: dict) -> str:
    """The names of the settings that differ from the training recorded in a folder."""
    record = read_record(folder / RECORD)
    if record is None:
        return "there is no record of it"
    before, now = flatten(record["made_with"]), flatten(made_with)
    names = [name for name in now if before.get(name) != now[name]]
    return f"with another {', '.join(names)}" if names else "by another version"


def flatten(made_with: dict) -> dict:
    """What decided a training, the settings in its `config` beside the rest."""
    return {**made_with, "config": None, **dict_in(made_with, "config")}


def settle_policy(policy: str, made_with: dict, folder: str | Path) -> str:
    """The precision to train in; with `"auto"`, a training in `folder` keeps the one that it began with.

    A training from a machine with a GPU is therefore used on one without, and the other way round. To
    change the precision, name it.
    """
    path = resolve_output(folder) / RECORD
    begun = [name for name in POLICIES if read_record(path, {**made_with, "policy": name})]
    return begun[0] if policy == "auto" and begun else choose_policy(policy)
