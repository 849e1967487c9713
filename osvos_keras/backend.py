"""Checks Keras's backend before Keras starts: it must be one that is installed."""

import os
from importlib.util import find_spec
from pathlib import Path

from osvos_keras.errors import ConfigError
from osvos_keras.io.files import read_json

BACKENDS = ("tensorflow", "jax", "torch")


def check_backend() -> None:
    """See that Keras would start, without starting it.

    Raises:
        ConfigError: the backend that the environment or Keras's own settings choose is not there.
    """
    home = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"))  # noqa: PTH111 (no error without a home)
    settings = read_json(home / "keras.json") or {}
    backend = os.environ.get("KERAS_BACKEND") or settings.get("backend") or BACKENDS[0]
    if backend not in BACKENDS or find_spec(backend) is None:
        raise ConfigError(
            f"Keras's backend is to be {backend!r} (KERAS_BACKEND, or {home / 'keras.json'}), which is not "
            "installed. Install it, or run with KERAS_BACKEND=tensorflow."
        )
