"""One-Shot Video Object Segmentation (OSVOS) in Keras 3, with a course of notebooks over it."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("osvos-keras")
except PackageNotFoundError:  # run from a source folder that was never installed
    __version__ = "unknown"
