"""T of whole methods, after J and F are known: it takes longer than they do."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from osvos_keras.davis import Davis
from osvos_keras.evaluation.db_info import read_db_info
from osvos_keras.evaluation.measuring import in_threads
from osvos_keras.evaluation.objects import Reader
from osvos_keras.evaluation.outlines import find_outline
from osvos_keras.evaluation.results import Scores
from osvos_keras.evaluation.stability import BATCH, mean_of_costs, pair_costs
from osvos_keras.evaluation.tables import STATISTICS

CHUNK = 2 * BATCH  # pairs of outlines per task


def add_stability(scores: Mapping[str, Scores], davis: Davis, *, progress: bool = True) -> dict[str, Scores]:
    """The scores with a column T, where `db_info.yml` says that it is defined; of one object only.

    Args:
        scores: by the name of the method, of the same sequences.
        davis: the data set.
        progress: show a bar.
    """
    first = next(iter(scores.values()))
    infos, readers = read_db_info(davis), first.readers
    names = [
        name for name in readers if name in infos and infos[name].eval_t and readers[name].objects is None
    ]
    firsts = {name: davis.annotation_path(davis.frames(name)[0]) for name in names}
    outlines = {name: find_outline(readers[name].annotation(path)) for name, path in firsts.items()}
    tasks = []
    for method, one in scores.items():
        for name in names:
            masks = [pair.mask for pair in one.plan[name] if pair.scored]
            line = [outlines[name], *masks]
            parts = (line[start : start + CHUNK + 1] for start in range(0, len(masks), CHUNK))
            tasks += [(method, name, part) for part in parts]
    costs: dict[str, dict[str, list[float]]] = {method: {name: [] for name in names} for method in scores}
    workers = first.arguments["workers"]
    found = in_threads(lambda task: _costs(task[2], readers[task[1]]), tasks, "T", "part", progress, workers)
    for (method, name, _), part in zip(tasks, found, strict=True):
        costs[method][name] += part.tolist()
    return {method: _with_column(one, costs[method]) for method, one in scores.items()}


def _costs(line: list, reader: Reader) -> np.ndarray:
    """The costs of neighbours in a line of outlines, paths of masks, and None for what is missing."""
    outlines = [find_outline(reader.mask(one)) if isinstance(one, Path) else one for one in line]
    return pair_costs(outlines)


def _with_column(scores: Scores, costs: Mapping[str, list[float]]) -> Scores:
    per_sequence, overall = scores.per_sequence.copy(), scores.overall.copy()
    if costs:
        values = [mean_of_costs(costs.get(name, [])) for name in per_sequence["sequence"]]
        per_sequence.insert(1 + len(STATISTICS), "T", values)
        overall.insert(len(STATISTICS), "T", per_sequence["T"].mean())
    arguments = {**scores.arguments, "stability": True}
    return replace(scores, per_sequence=per_sequence, overall=overall, arguments=arguments)
