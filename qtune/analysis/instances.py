"""How many instances of the consumers there are, where they come and go."""

from __future__ import annotations

import numpy as np

from qtune.result import Result


def instances_mean(result: Result, from_s: float) -> float:
    """The mean number of instances from ``from_s`` on, from the beginning of their start to their end.

    Where nothing changes it is what the scenario says. Otherwise it is read from the sampled state, whose running sum
    of instance seconds is exact at every sample.
    """
    if not result.scenario.fleet_varies:
        return float(result.scenario.consumers.instances)
    times_s, sums_s = result.states["time_s"], result.states["instance_s"]
    begin_s, end_s = np.interp([from_s, times_s[-1]], times_s, sums_s)
    span_s = float(times_s[-1]) - from_s
    return float(end_s - begin_s) / span_s if span_s > 0.0 else float(result.states["consumers"][-1])
