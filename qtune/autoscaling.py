"""What adds and removes consumer instances while a queue is worked off, in the words of each system.

``consumers.instances`` is then the most there may be. Each kind of scaler says what it does as a :class:`ScalingRule`:
so many messages for each instance, with a tolerance, two windows and the most that is added in one step.

Defaults that a system states carry it as their source; those that it leaves open are assumptions, and are said to be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import SerializeAsAny

from qtune.records import (
    Complaint,
    Count,
    CountOrZero,
    NumberOrZero,
    PositiveNumber,
    PositiveSeconds,
    Record,
    Seconds,
    YesOrNo,
    one_of,
)

_KEDA = "KEDA 2.21, keda-docs"
_HPA = "Kubernetes documentation, horizontal pod autoscaling"
_TRACKING = "Amazon EC2 Auto Scaling guide, scaling based on SQS"
_FUNCTIONS = "Azure documentation, Functions target-based scaling"
_LAMBDA = "AWS Lambda Developer Guide, scaling of SQS event source mappings"


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalingRule:
    """What a scaler does, in neutral words.

    every_s: how often it sets the number of instances. target: messages that each instance is to have.
    counts_in_flight: whether messages that a consumer has locked count. counts_groups: what counts is not messages but
        the groups that have any.
    tolerance: nothing changes while the messages of each instance are so near to the target, as a share of it.
    up_window_s, down_window_s: it adds instances only to what was wanted all that time, and removes only what was never
        wanted in that time.
    up_share, up_count: in one step it adds at most this share of the present instances, or this many.
    poll_s: how often it looks whether the fleet may sleep; 0: it does not, and the fleet only sleeps if nothing is
        wanted. activation: more messages than this keep it awake. cooldown_s: without them it falls asleep after this.
    asleep: the instances of a fleet that sleeps. fallback: those that it wants once it could not read the number of
        messages more than ``failures`` times in a row; 0: then it does nothing, whatever the times.
    """

    every_s: float
    target: float
    counts_in_flight: bool
    counts_groups: bool = False
    tolerance: float = 0.0
    up_window_s: float = 0.0
    down_window_s: float = 0.0
    up_share: float = 0.0
    up_count: int = 1
    poll_s: float = 0.0
    activation: float = 0.0
    cooldown_s: float = 0.0
    asleep: int = 0
    fallback: int = 0
    failures: int = 0


class Scaling(Record):
    """What all scalers have in common.

    min_instances: the fewest; 0: none while there is nothing to do. start_instances: those at the start of the run;
        None: the fewest. start_up_s: from the decision to an instance that receives; it is paid for meanwhile.
    metric_lag_s: the number of messages that the scaler reads is at least so old.
    on_scale_in: an instance that is removed drains ("drain", see ``drain_consumers``) or ends at once ("kill").
    grace_s: one that still drains after so long is killed.
    """

    kind: str
    min_instances: CountOrZero = 1
    start_instances: CountOrZero | None = None
    start_up_s: Seconds = 0.0
    metric_lag_s: Seconds = 0.0
    on_scale_in: Literal["drain", "kill"] = "drain"
    grace_s: PositiveSeconds | None = 30.0
    providers: ClassVar[tuple[str, ...]]
    why: ClassVar[str]

    @property
    def starts_with(self) -> int:
        """How many instances there are at the start of the run."""
        return self.min_instances if self.start_instances is None else self.start_instances

    @property
    def fewest(self) -> int:
        """The fewest instances that there may be at any time."""
        return self.min_instances

    @property
    def lingers_s(self) -> float:
        """For how long an instance that is removed may drain; 0: it is killed."""
        return 0.0 if self.on_scale_in == "kill" else self.grace_s or math.inf

    @property
    def reaction_s(self) -> float:
        """About how long it takes from a sudden load to as many instances as there may be."""
        rule, steps = self.rule("sqs", 1), 8
        return rule.poll_s + self.metric_lag_s + rule.up_window_s + steps * rule.every_s + self.start_up_s

    def rule(self, provider: str, batch: int, in_sessions: bool = False) -> ScalingRule:
        """What it does, at this provider, where a receive brings up to ``batch`` messages."""
        raise AssertionError("each kind of scaler has its own rule")


class KedaFallback(Record):
    """The fallback of KEDA: ``replicas`` once the metric could not be read more often than ``failure_threshold``.

    KEDA counts the autoscaler's questions, one every ``sync``, and starts again at 0 with each that is answered. The
    autoscaler then takes the replicas for what is wanted, with its own windows and steps.
    """

    failure_threshold: CountOrZero
    replicas: Count


class Keda(Scaling):
    """KEDA and the horizontal pod autoscaler of Kubernetes behind it.

    KEDA wakes a deployment from 0 to its fewest pods when there are more messages than ``activation``, and puts it to
    sleep ``cooldown`` after there were; from 1 on the autoscaler decides alone, every ``sync``. It adds at most
    ``scale_up_share`` of the pods or ``scale_up_pods`` at a time, and removes no more pods than the highest number that
    was wanted within ``scale_down_window`` allows.

    messages: queueLength of aws-sqs-queue, messageCount of azure-servicebus. groups: not messages are counted, but open
        groups or sessions, so many for each pod. KEDA's scalers of queues do not count these (kedacore/keda#1479): it
        takes a metric of one's own, which is assumed to count groups with messages in flight too.
    scale_on_in_flight: whether messages in flight count; None: as the scaler of the provider does, which is yes for
        SQS and for groups, and no for Service Bus.
    idle_instances: idleReplicaCount, the pods of a fleet that sleeps although its fewest are more; None: no fleet with
        a fewest above 0 sleeps. Above 0 the autoscaler goes back to the fewest at its next look, so the two fight.
    fallback: what it does while the queue cannot be read, as in an outage; None: nothing, the fleet stays as it is.
    """

    kind: Literal["keda"] = "keda"
    min_instances: CountOrZero = 0
    messages: PositiveNumber = 5.0
    groups: PositiveNumber | None = None
    activation: NumberOrZero = 0.0
    polling_interval_s: PositiveSeconds = 30.0
    cooldown_s: Seconds = 300.0
    scale_on_in_flight: YesOrNo | None = None
    sync_s: PositiveSeconds = 15.0
    tolerance: NumberOrZero = 0.1
    scale_up_share: NumberOrZero = 1.0
    scale_up_pods: CountOrZero = 4
    scale_up_window_s: Seconds = 0.0
    scale_down_window_s: Seconds = 300.0
    idle_instances: CountOrZero | None = None
    fallback: KedaFallback | None = None
    providers = ("sqs", "servicebus")
    why = f"{_KEDA}; {_HPA}"

    def rule(self, provider: str, batch: int, in_sessions: bool = False) -> ScalingRule:
        """The autoscaler's, with KEDA's watch where the fleet may sleep."""
        in_flight = self.scale_on_in_flight
        if in_flight is None:
            in_flight = self.groups is not None or provider == "sqs"
        return ScalingRule(
            every_s=self.sync_s,
            target=self.messages if self.groups is None else self.groups,
            counts_in_flight=in_flight,
            counts_groups=self.groups is not None,
            tolerance=self.tolerance,
            up_window_s=self.scale_up_window_s,
            down_window_s=self.scale_down_window_s,
            up_share=self.scale_up_share,
            up_count=self.scale_up_pods,
            poll_s=self.polling_interval_s if self.sleeps else 0.0,
            activation=self.activation,
            cooldown_s=self.cooldown_s,
            asleep=self.idle_instances or 0,
            fallback=self.fallback.replicas if self.fallback else 0,
            failures=self.fallback.failure_threshold if self.fallback else 0,
        )

    @property
    def fewest(self) -> int:
        """Those of a fleet that sleeps."""
        return self.min_instances if self.idle_instances is None else self.idle_instances

    @property
    def sleeps(self) -> bool:
        """Whether KEDA puts the fleet to sleep and wakes it."""
        return self.min_instances == 0 or self.idle_instances is not None


class TargetTracking(Scaling):
    """Target tracking of AWS on the backlog for each instance: visible messages over instances.

    backlog: messages for each instance; the guide's formula is the acceptable latency over the time of one message.
    every_s: the metric's period. scale_out_after_s, scale_in_after_s: for so long it must be above, or below, the
        target: three and fifteen points of one minute, which is assumed.
    """

    kind: Literal["target_tracking"] = "target_tracking"
    backlog: PositiveNumber
    every_s: PositiveSeconds = 60.0
    metric_lag_s: Seconds = 60.0
    scale_out_after_s: Seconds = 180.0
    scale_in_after_s: Seconds = 900.0
    providers = ("sqs",)
    why = _TRACKING

    def rule(self, provider: str, batch: int, in_sessions: bool = False) -> ScalingRule:
        """It may add any number at once, and counts visible messages only."""
        return ScalingRule(
            every_s=self.every_s,
            target=self.backlog,
            counts_in_flight=False,
            up_window_s=self.scale_out_after_s,
            down_window_s=self.scale_in_after_s,
            up_count=2**31,
        )


class FunctionsTarget(Scaling):
    """Target-based scaling of Azure Functions: messages over the executions of each instance, four more at a time.

    executions: target executions of each instance: maxConcurrentCalls, maxConcurrentSessions or maxMessageBatchSize
        (1,000). None: 8 on a queue with sessions, and 16 on any other. every_s: assumed. scale_in_after_s: assumed;
        nothing is stated.
    """

    kind: Literal["functions"] = "functions"
    min_instances: CountOrZero = 0
    executions: PositiveNumber | None = None
    every_s: PositiveSeconds = 30.0
    scale_in_after_s: Seconds = 0.0
    grace_s: PositiveSeconds | None = 600.0
    providers = ("servicebus",)
    why = _FUNCTIONS

    def rule(self, provider: str, batch: int, in_sessions: bool = False) -> ScalingRule:
        """At most four more at a time; with sessions it still counts messages."""
        default = 8.0 if in_sessions else 16.0
        return ScalingRule(
            every_s=self.every_s,
            target=self.executions or default,
            counts_in_flight=False,
            down_window_s=self.scale_in_after_s,
            up_count=4,
        )


class LambdaPollers(Scaling):
    """The event source mapping of AWS Lambda for SQS: an instance is one of its concurrent batches.

    It starts with five, adds up to 300 a minute while there are messages for them, up to 1,250 or to the
    MaximumConcurrency, which is ``consumers.instances``, and goes back to two when there are few; with a
    MaximumConcurrency to five, so use ``min_instances: 5`` there. How it counts is not stated: here a batch for each
    BatchSize of the messages in the queue and in flight. That is what a call of the handler takes (``handler.most``),
    or what a receive brings.
    """

    kind: Literal["lambda"] = "lambda"
    min_instances: CountOrZero = 2
    start_instances: CountOrZero | None = 5
    every_s: PositiveSeconds = 60.0
    grace_s: PositiveSeconds | None = None
    providers = ("sqs",)
    why = _LAMBDA

    def rule(self, provider: str, batch: int, in_sessions: bool = False) -> ScalingRule:
        """A batch of messages for each, 300 more at a time."""
        return ScalingRule(every_s=self.every_s, target=float(batch), counts_in_flight=True, up_count=300)


MOST_POLLERS = 1250

SCALERS: dict[str, type[Record]] = {
    "keda": Keda,
    "target_tracking": TargetTracking,
    "functions": FunctionsTarget,
    "lambda": LambdaPollers,
}

AnyScaling = Annotated[SerializeAsAny[Scaling], one_of("kind", SCALERS)]


def scaling_fits(scenario: Any) -> Iterator[Complaint]:
    """The rules between a scaler, the fleet and the queue."""
    scaling, most = scenario.scaling, scenario.consumers.instances
    if scaling is None:
        return
    if scenario.queue.provider not in scaling.providers:
        message = f"{scaling.kind} cannot see a queue of {scenario.queue.provider}: leave scaling out"
        yield Complaint(path="scaling.kind", message=message, source=scaling.why)
    if scaling.min_instances >= most:
        message = (
            f"consumers.instances is the most there may be ({most}), so nothing would scale: use fewer here"
        )
        yield Complaint(path="scaling.min_instances", message=message)
    given = scaling.model_fields_set
    if isinstance(scaling, Keda) and scaling.groups is not None:
        if "messages" in given:
            message = "groups are counted instead of messages: leave one of them out"
            yield Complaint(path="scaling.messages", message=message)
        if scenario.semantics().hands_out in ("by age", "by fairness"):
            message = "this queue hands out whatever its groups are: use messages, or a queue with groups or sessions"
            yield Complaint(path="scaling.groups", message=message)
    if "start_instances" in given and not scaling.min_instances <= scaling.starts_with <= most:
        message = (
            f"this must be between min_instances ({scaling.min_instances}) and consumers.instances ({most})"
        )
        yield Complaint(path="scaling.start_instances", message=message)
    if scaling.on_scale_in == "kill" and "grace_s" in given:
        message = "on_scale_in is kill, so nothing drains: use on_scale_in: drain, or leave grace out"
        yield Complaint(path="scaling.grace_s", message=message)
    if isinstance(scaling, Keda):
        yield from _keda_fits(scaling, most)
    if isinstance(scaling, LambdaPollers) and most > MOST_POLLERS:
        message = f"a mapping has at most {MOST_POLLERS:,} concurrent batches"
        yield Complaint(path="consumers.instances", message=message, source=_LAMBDA)


def _keda_fits(scaling: Keda, most: int) -> Iterator[Complaint]:
    """The rules between KEDA's own settings."""
    for name in ("activation", "polling_interval_s", "cooldown_s"):
        if not scaling.sleeps and name in scaling.model_fields_set:
            message = (
                "KEDA wakes a fleet and puts it to sleep only where min_instances is 0 or idle_instances is given: "
                "leave this out"
            )
            yield Complaint(path=f"scaling.{name}", message=message, source=_KEDA)
    if scaling.idle_instances is not None and scaling.idle_instances >= scaling.min_instances:
        message = f"a fleet that sleeps has fewer instances than one that is awake ({scaling.min_instances})"
        yield Complaint(path="scaling.idle_instances", message=message, source=_KEDA)
    if scaling.fallback is not None and scaling.fallback.replicas > most:
        message = f"there may be no more than consumers.instances ({most})"
        yield Complaint(path="scaling.fallback.replicas", message=message, source=_KEDA)
