"""The parameters of a provider model in the order in which runs tell them: clients, calls, the broker, who waits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

import numpy as np

from qtune.analysis.intervals import missing
from qtune.calibration.again import Again
from qtune.calibration.client_cost import fit_client_cost, spent_s, within_calls
from qtune.calibration.latency import FEWEST, LatencyFit, fit_latency, of_two_halves, shortened
from qtune.calibration.observations import Times, Waited, calls_under_way, is_measured, times_of, waited
from qtune.calibration.parameters import (
    Parameter,
    broker_parameters,
    client_parameters,
    latency_parameters,
    left_out,
)
from qtune.calibration.queueing import BrokerFit, fit_broker, untold
from qtune.calibration.waiting import fit_hand_out, fit_look
from qtune.providers.model import ClientCost, HandOut, Latency, Looking, ProviderModel
from qtune.result import OP_RECEIVE, OP_RENEW, OP_SEND, OP_SETTLE, Result
from qtune.shapes import ConstantTime

OPS: Final = {"send": OP_SEND, "receive": OP_RECEIVE, "settle": OP_SETTLE, "renew": OP_RENEW}
ENOUGH: Final = 500
"""With so many undisturbed calls the mean is known to a few per cent: a busier run would add more error than it
takes away."""

FEW: Final = 100
OTHERS: Final = (0, 1, 3, math.inf)
"""With fewer calls than that, those count too that began when so many others were under way."""

DISTURBED: Final = 0.5
"""With more calls under way on average, calls get in each other's way where a broker serves few at once."""

LOADED: Final = 2
"""So many runs are simulated again and again to find what the broker serves at once: those with most calls a second."""


class Stages:
    """The fit of one provider's model to runs of one client."""

    def __init__(self, runs: Sequence[Result], start: ProviderModel, client: str) -> None:
        self.runs, self.start, self.client = runs, start, client
        self.behaviours = [run.scenario.behaviour() for run in runs]
        self.pushes = self.behaviours[0].discipline != "poll"
        assumed = start.clients[client]
        cost, most_s = fit_client_cost(runs, assumed.message_cost_s), self._shortest_s()
        self.cost = within_calls(cost, most_s, runs, assumed.message_cost_s)
        self.call_cost_s = min(spent_s(self.cost.call, assumed.call_cost_s), most_s)

    def _shortest_s(self) -> float:
        """Nearly the shortest that calls of consumers are, of which the client's own work is a part; inf: none was
        seen."""
        seen = [self._calls(op).seen_s for op in OPS if op != "send"]
        return min(
            (0.9 * float(np.quantile(times_s, 0.05)) for times_s in seen if times_s.size >= FEWEST),
            default=math.inf,
        )

    def fitted(self) -> tuple[ProviderModel, tuple[Parameter, ...]]:
        """The model with everything that the runs tell, and all its parameters."""
        gross = {op: self._latency(op, 0.0) for op in OPS}
        broker = self._broker(gross)
        service_s = broker.service_s.value if broker.limited else 0.0
        latencies = {op: self._latency(op, service_s) for op in OPS} if service_s else gross
        if broker.limited:
            latencies = {op: found and found.unsure_by(broker.service_s) for op, found in latencies.items()}
        look, look_parameter = self._look(latencies)
        hand_out, hand_out_parameter = self._hand_out()
        model = self._model(latencies, broker, look, hand_out)
        parameters = [
            *latency_parameters(latencies),
            *client_parameters(self.client, self.cost),
            *broker_parameters(broker),
            hand_out_parameter,
            *look_parameter,
            *left_out(self.start),
        ]
        return model, tuple(parameters)

    # -- calls -------------------------------------------------------------------------------------------------

    def times(self, op: str) -> Times:
        """How long calls took, without the client's own work, which a sender is not charged.

        Of those that nothing disturbed; if these are too few, as where a network is slow, also of those that began when
        some others were under way.
        """
        found = self._calls(op)
        return found if op == "send" else found.less(self.call_cost_s)

    def _calls(self, op: str) -> Times:
        found = Times.together([])
        for others in OTHERS:
            found = self._undisturbed(op, others)
            if found.seen_s.size >= FEW:
                break
        return found

    def _undisturbed(self, op: str, others: float) -> Times:
        """Of the quietest runs, until there are enough calls of this kind; of busy ones only when there are too few."""
        parts: list[Times] = []
        for run in sorted(self.runs, key=calls_under_way):
            behaviour = run.scenario.behaviour()
            hidden = op == "receive" and self.pushes and (behaviour.prefetch or behaviour.batch > 1)
            if hidden or (op == "settle" and is_measured(run) and not self._settlement_waits()):
                continue
            count = sum(part.seen_s.size for part in parts)
            if count >= ENOUGH or (count >= FEW and calls_under_way(run) > DISTURBED):
                break
            parts.append(times_of(run, OPS[op], others))
        return Times.together(parts)

    def _settlement_waits(self) -> bool:
        return self.runs[0].scenario.provider().clients[self.client].settlement_waits

    def _latency(self, op: str, service_s: float) -> LatencyFit | None:
        times = self.times(op).less(service_s)
        if times.seen_s.size < FEWEST:
            return None
        fitted = fit_latency(times.seen_s, times.censored_s)
        # A receive over a link is half a round trip of credit and half a one of a push, which are drawn apart.
        return of_two_halves(fitted) if op == "receive" and self.pushes else fitted

    # -- the broker --------------------------------------------------------------------------------------------

    def _broker(self, gross: dict[str, LatencyFit | None]) -> BrokerFit:
        known = {op: fitted for op, fitted in gross.items() if fitted is not None}
        missing_calls = [op for op in ("send", "receive", "settle") if op not in known]
        if missing_calls:
            reason = f"how long a {' or '.join(missing_calls)} takes is not known from these runs"
            return untold(reason)
        most_s = 0.9 * min(fitted.time.distribution().quantile(0.05) for fitted in known.values())
        base = self._model(gross, None, 0.0, None)
        loaded = sorted(self.runs, key=lambda run: -run.calls.size / run.horizon_s)[:LOADED]
        again = {id(run): Again(run, base) for run in loaded}

        def simulated(run: Result, at_once: int, service_s: float) -> Result:
            times = {op: shortened(fitted.time, service_s) for op, fitted in known.items()}
            return again[id(run)].serving(at_once, service_s, times)

        return fit_broker(loaded, simulated, most_s)

    # -- receives that wait ------------------------------------------------------------------------------------

    def _waited(self, alone: bool) -> Waited:
        """alone: only of runs with one receiver."""
        found = [
            waited(run)
            for run, behaviour in zip(self.runs, self.behaviours, strict=True)
            if behaviour.wait_s > 0.0
            and not behaviour.prefetch
            and (not alone or behaviour.receivers * run.scenario.consumers.instances == 1)
        ]
        return Waited(
            wait_s=np.concatenate([each.wait_s for each in found] or [np.empty(0)]),
            passed=np.concatenate([each.passed for each in found] or [np.empty(0, np.int64)]),
            of=np.concatenate([each.of for each in found] or [np.empty(0, np.int64)]),
        )

    def _look(self, latencies: dict[str, LatencyFit | None]) -> tuple[float, list[Parameter]]:
        name, receive = "broker.long_poll.every", latencies["receive"]
        before = self.start.broker.long_poll
        kept_s = before.every_s if before else 0.0
        if self.pushes:
            return kept_s, []  # a link is told at once; there is nothing to look for
        run = "add an idle run with one worker and a receive_wait"
        if receive is None:
            reason = f"how long a receive takes by itself is not known: {run}"
            return kept_s, [
                Parameter(name=name, estimate=missing(reason, "s"), identified=False, reason=reason)
            ]
        estimate = fit_look(self._waited(alone=True).wait_s, receive.time.distribution())
        if not estimate.known:
            reason = f"{estimate.reason}: {run}"
            return kept_s, [Parameter(name=name, estimate=estimate, identified=False, reason=reason)]
        return estimate.value, [Parameter(name=name, estimate=estimate, identified=True)]

    def _hand_out(self) -> tuple[HandOut | None, Parameter]:
        name, found = "broker.hand_out", self._waited(alone=False)
        several = found.of >= 2
        fitted = fit_hand_out(found.passed[several], found.of[several])
        if fitted is None:
            reason = (
                f"only {int(several.sum())} messages came while several receives waited: add a run with more workers "
                "than it keeps busy"
            )
            return None, Parameter(name=name, estimate=missing(reason), identified=False, reason=reason)
        what = HandOut(to=fitted.to, prior=False, source=self._source(int(several.sum())), as_of=date.today())
        longest, chance = f"{fitted.share.value:.0%}", f"{fitted.chance:.0%}"
        said = f"{fitted.to}: the one that had waited longest got {longest}, by chance it would get {chance}"
        return what, Parameter(name=name, estimate=replace(fitted.share, reason=said), identified=True)

    # -- the model ---------------------------------------------------------------------------------------------

    def _source(self, count: int) -> str:
        runs = f"{len(self.runs)} run{'s' if len(self.runs) != 1 else ''}"
        return f"calibrated with {count} observations of {runs}"

    def _model(
        self,
        latencies: dict[str, LatencyFit | None],
        broker: BrokerFit | None,
        look_s: float,
        hand_out: HandOut | None,
    ) -> ProviderModel:
        start, today = self.start, date.today()
        calls = {
            op: Latency(time=found.time, prior=False, source=self._source(found.count), as_of=today)
            for op, found in latencies.items()
            if found is not None
        }
        changed: dict[str, Any] = {}
        if broker is not None and broker.known:
            changed["calls_served_at_once"] = int(broker.at_once.value)
        if broker is not None and broker.limited:
            time = ConstantTime(mean_s=broker.service_s.value)
            source = self._source(sum(run.calls.size for run in self.runs))
            changed["call_service"] = Latency(time=time, prior=False, source=source, as_of=today)
        if not self.pushes:
            looking = (
                Looking(every_s=look_s, prior=False, source=self._source(FEWEST), as_of=today)
                if look_s
                else None
            )
            changed["long_poll"] = looking
        if hand_out is not None:
            changed["hand_out"] = hand_out
        return start.model_copy(
            update={
                "latency": start.latency.model_copy(update=calls),
                "broker": start.broker.model_copy(update=changed),
                "clients": {**start.clients, self.client: self._client_cost()},
                "as_of": today,
            }
        )

    def _client_cost(self) -> ClientCost:
        assumed, cost = self.start.clients[self.client], self.cost
        if not cost.call.known:
            return assumed
        message_s = cost.message.value if cost.message.known else assumed.message_cost_s
        split = "" if cost.message.known else "; what a message costs is assumed"
        return ClientCost(
            call_cost_s=cost.call.value,
            message_cost_s=message_s,
            prior=False,
            source=self._source(sum(run.calls.size for run in self.runs)) + split,
            as_of=date.today(),
        )
