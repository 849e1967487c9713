"""One-Shot Video Object Segmentation (OSVOS) in Keras 3, with a course of notebooks over it."""

__version__ = "0.2.0"  # raise it when the same settings give another result: records compare it
