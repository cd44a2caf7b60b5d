"""Rules of a prediction with the cases that promtool plays to them: `python tests/alert_cases.py FOLDER` writes both.

In each case the counters of a system rise evenly for ten hours: as predicted, which fires nothing, or with one thing
wrong, which fires the alert that is about it and no other. `promtool test rules cases.yaml` in the folder plays them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from small_scenarios import STEADY

import qtune

MINUTES = 600
FAILING = STEADY.replace("horizon: 60s", "failures: {rate: 1%}\nhorizon: 10min")
FAILED_SHARE = 0.01
BUCKETS = ("0.001", "0.005", "0.01", "0.05", "0.1", "0.5", "1", "5", "+Inf")


def shares_below(times_longer: float) -> list[float]:
    """What share of exponential times of 20 ms, so many times longer, each bucket of the histogram holds."""
    from math import exp, inf

    bounds_s = [inf if bound == "+Inf" else float(bound) for bound in BUCKETS]
    return [1.0 - exp(-bound_s / (0.02 * times_longer)) for bound_s in bounds_s]


def series(rate_per_s: float, failed: float, times_longer: float, mean_s: float) -> list[dict[str, str]]:
    """The counters of a system that completes so many messages a second."""

    def rising(name: str, per_s: float) -> dict[str, str]:
        return {"series": name, "values": f"0+{60.0 * per_s:.9f}x{MINUTES}"}

    errors_per_s = rate_per_s * failed / (1.0 - failed)
    duration = "queue_runtime_processing_duration_seconds"
    return [
        rising("queue_runtime_messages_processed_total", rate_per_s),
        rising("queue_runtime_errors_total", errors_per_s),
        rising(f"{duration}_sum", (rate_per_s + errors_per_s) * mean_s),
        *(
            rising(f'{duration}_bucket{{le="{bound}"}}', rate_per_s * share)
            for bound, share in zip(BUCKETS, shares_below(times_longer), strict=True)
        ),
    ]


def case(
    name: str, fires: str | None, rules: list[dict[str, Any]], counters: list[dict[str, str]]
) -> dict[str, Any]:
    """One case: which alert is on after ten hours, if any."""
    return {
        "name": name,
        "interval": "1m",
        "input_series": counters,
        "alert_rule_test": [
            {
                "eval_time": f"{MINUTES}m",
                "alertname": rule["alert"],
                "exp_alerts": [{"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}]
                if rule["alert"] == fires
                else [],
            }
            for rule in rules
        ],
    }


def write_cases(folder: Path) -> None:
    """Write rules.yaml and cases.yaml."""
    summary = qtune.predict(qtune.load_scenario(FAILING), replications=5)
    written = qtune.export(summary, folder / "rules.yaml")
    rules = yaml.safe_load(written.read_text(encoding="utf-8"))["groups"][0]["rules"]
    rate = summary.goodput_per_s.value
    mean_s = 4.0 * summary.utilization.value / (rate / (1.0 - FAILED_SHARE))  # four workers
    cases = [
        case("as predicted", None, rules, series(rate, FAILED_SHARE, 1.0, mean_s)),
        case("a tenth less", None, rules, series(0.9 * rate, FAILED_SHARE, 1.0, mean_s)),
        case("a quarter less", "QueueThroughputDown", rules, series(0.75 * rate, FAILED_SHARE, 1.0, mean_s)),
        case("half as long again", None, rules, series(rate, FAILED_SHARE, 1.5, 1.5 * mean_s)),
        case("five times as long", "QueueProcessingSlow", rules, series(rate, FAILED_SHARE, 5.0, mean_s)),
        case("four times the errors", None, rules, series(rate, 4 * FAILED_SHARE, 1.0, mean_s)),
        case("six times the errors", "QueueErrorsUp", rules, series(rate, 6 * FAILED_SHARE, 1.0, mean_s)),
        case(
            "busy",
            "QueueWorkersBusy",
            rules,
            series(rate, FAILED_SHARE, 1.0, mean_s * 0.85 / summary.utilization.value),
        ),
    ]
    document = {"rule_files": [written.name], "evaluation_interval": "1m", "tests": cases}
    (folder / "cases.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    write_cases(Path(sys.argv[1]))
