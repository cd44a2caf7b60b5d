"""Which settings a calibration runs: some that the model is fitted to, and others that it has to predict."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from qtune.calibration.place import Place, Setting

PROBE: Final = Setting(name="probe", way="single", workers=4, service_s=0.02, service_cv=0.0, load=0.05)
"""A few messages, to see how long calls take here: servers differ by a factor of hundreds."""

IDLE: Final = Setting(name="idle", way="single", workers=1, service_s=0.02, service_cv=1.0, load=0.2)
MODERATE: Final = Setting(name="moderate", way="single", workers=4, service_s=0.04, service_cv=1.0, load=0.5)
BATCHES: Final = Setting(name="batches", way="batch", workers=4, service_s=0.04, service_cv=1.0, load=0.5)
SATURATING: Final = Setting(
    name="saturating", way="single", workers=4, service_s=0.03, service_cv=0.5, load=1.5
)
SATURATING_BATCHES: Final = replace(SATURATING, name="saturating-batches", way="bulk")
"""What the model is fitted to. The idle run shows calls that nothing hinders and how waiting receives are woken; the
saturating ones, at what the moderate one says is too much, what happens when messages and calls wait; and two sizes of
batch tell what a call costs from what a message costs."""

HELD_OUT: Final = (
    Setting(name="h1", way="single", workers=2, service_s=0.03, service_cv=0.0, load=0.7),
    Setting(name="h2", way="batch", workers=3, service_s=0.04, service_cv=0.5, load=0.6),
    Setting(name="h3", way="single", workers=5, service_s=0.03, service_cv=1.0, load=1.4),
    Setting(name="h4", way="single", workers=6, service_s=0.05, service_cv=1.0, load=0.8),
    Setting(name="h5", way="several", workers=3, service_s=0.03, service_cv=0.5, load=0.6),
    Setting(name="h6", way="single", workers=3, service_s=0.05, service_cv=1.5, load=0.6),
    Setting(name="h7", way="deep", workers=5, service_s=0.04, service_cv=1.0, load=0.7),
    Setting(name="h8", way="single", workers=1, service_s=0.03, service_cv=1.0, load=0.3),
    Setting(name="h9", way="single", workers=2, service_s=0.04, service_cv=0.5, load=0.75, instances=2),
)
"""What it predicts: other workers, services and loads than those with which it was fitted, one of them saturated."""

NOISE_RUNS: Final = 5


def held_out_settings(place: Place, count: int) -> tuple[Setting, ...]:
    """The first so many; where consumers share the process of the queue, two instances are one of twice the workers."""
    return tuple(
        setting
        if place.many_processes
        else replace(setting, instances=1, workers=setting.workers * setting.instances)
        for setting in HELD_OUT[:count]
    )
