"""Intervals of mean gains over sequences."""

import numpy as np
from scipy.stats import bootstrap


def interval(gains: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean by SciPy's paired bootstrap; NaN for fewer than two gains."""
    if len(gains) < 2:
        return np.nan, np.nan
    found = bootstrap((gains,), np.mean, random_state=0).confidence_interval
    return found.low, found.high
