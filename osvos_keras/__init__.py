"""One-Shot Video Object Segmentation (OSVOS) in Keras 3, with a course of notebooks over it.

The names below are imported when they are first used, so that `import osvos_keras` starts neither Keras
nor TensorFlow.
"""

import lazy_loader

__version__ = "0.4.2"  # raise it when the same settings give another result: records compare it

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["get_config"],
        "davis": ["Davis", "read_frame"],
        "evaluation": ["evaluate"],
        "inference": ["segment_sequence"],
        "marking.marks": ["given_objects"],
        "model": ["build_osvos"],
        "training": ["train_online", "train_parent"],
        "video.clip": ["import_clip"],
        "video.overlay": ["write_overlays"],
        "video.segment": ["segment_clip"],
    },
)
