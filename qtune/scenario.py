"""A scenario: the workload, the queue, its consumers, what goes wrong and how long to look, as one frozen
record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from qtune import providers
from qtune.arrivals import KINDS, AnyArrivals, Schedule, TraceFile
from qtune.autoscaling import AnyScaling
from qtune.checks import Partial, partial, run_checks, value_at
from qtune.consumer import Consumers, Failures, Retry
from qtune.distributions import Distribution, Empirical
from qtune.downstream import Downstream
from qtune.errors import InputError, Problem, ScenarioError, text_of
from qtune.faults import Fault, Throttling, kills
from qtune.groups import AnyGroups
from qtune.handler import Handler
from qtune.producer import Producers
from qtune.providers.base import (
    CallModel,
    DeliverySemantics,
    Op,
    RateLimit,
    ReceiveBehaviour,
    Retries,
)
from qtune.providers.files import find_model
from qtune.providers.model import ProviderModel
from qtune.providers.queue import Provider, QueueSettings
from qtune.providers.registry import all_providers, get_provider
from qtune.records import (
    Bytes,
    Complaint,
    CountOrZero,
    PositiveSeconds,
    Record,
    Text,
    base_folder,
    choose,
    detail_of,
    read_seconds,
    read_text,
    refuse,
    refuse_again,
    refuse_file,
    validate_nested,
    validation_error,
    wrong_at,
    yaml_name,
)
from qtune.shapes import HintsTime, ServiceTime, TimeShape
from qtune.shown import Shown
from qtune.traces import read_trace


def _read_queue(value: object, info: ValidationInfo) -> object:
    return value if isinstance(value, Record) else validate_nested(_queue_type(value), value, info)


def _queue_type(value: object) -> type[Record]:
    """The record class of the provider that ``value["provider"]`` names, built in or from another package."""
    name = value.get("provider") if isinstance(value, Mapping) else None
    if isinstance(name, str):
        try:
            return get_provider(name).queue_type
        except InputError as error:
            raise wrong_at(("provider",), name, error.problems[0].message) from None
    return choose("provider", {known: found.queue_type for known, found in all_providers().items()}, value)


AnyQueue = Annotated[SerializeAsAny[QueueSettings], BeforeValidator(_read_queue)]


_KIND_KEYS = {"kind", "family", "provider"}


class QueueAndConsumers(Protocol):
    """What ``Scenario.using`` takes over, such as a preset."""

    @property
    def queue(self) -> QueueSettings:
        """The queue, in its provider's words."""

    @property
    def consumers(self) -> Consumers:
        """The consumers; what their maker left open stays as it is in the scenario."""

    @property
    def retry(self) -> Retry | None:
        """Attempts inside one delivery, or None to leave them as they are."""


def _section_types(data: Mapping[str, Any]) -> dict[str, type[Record]]:
    """The records of those sections of which valid fields are worth checking when others are invalid."""
    found: dict[str, type[Record]] = {
        "consumers": Consumers,
        "downstream": Downstream,
        "failures": Failures,
        "handler": Handler,
        "producers": Producers,
    }
    for name, type_of in (("queue", _queue_type), ("arrivals", lambda value: choose("kind", KINDS, value))):
        try:
            found[name] = type_of(data.get(name))
        except (PydanticCustomError, ValidationError):
            continue  # the section does not say what it is, which is an error of its own
    return found


def _read_warm_up(value: object, info: ValidationInfo) -> float | str:
    if value == "auto":
        return "auto"
    if isinstance(value, str) and not value[:1].isdigit():
        raise refuse('this must be auto, or a duration such as "5min"')
    return read_seconds(value, info)


WarmUp = Annotated[float | Literal["auto"], BeforeValidator(_read_warm_up)]


def _read_model(value: object, info: ValidationInfo) -> str:
    name = read_text(value)
    try:
        found = find_model(name, base_folder(info))
    except InputError as error:
        raise refuse_again(error) from None
    try:
        providers.load_model(found)
    except InputError as error:
        raise refuse_file(error) from None
    return found


ModelName = Annotated[str, BeforeValidator(_read_model)]


class Scenario(Record, Shown):
    """Everything that a run depends on.

    Making one checks every rule, and raises one ScenarioError with all problems.

    groups: which messages belong together (message groups, sessions); None: the workload knows none.
    producers: None: the broker has each message at its due instant.
    scaling: None: there are always as many instances as ``consumers`` says; otherwise that is the most.
    downstream: None: handlers share nothing but the cores of their instance.
    horizon_s: how long to look; left out, it is the length of the trace. What is due at the horizon counts.
    warm_up_s: "auto", or how much of the start a summary leaves out.
    model: name of a shipped provider model or path of one; None: the provider's own.
    """

    name: Text = "scenario"
    arrivals: AnyArrivals
    service_time: ServiceTime
    message_size_bytes: Bytes = 1024
    groups: AnyGroups | None = None
    failures: Failures = Failures()
    handler: Handler = Handler()
    downstream: Downstream | None = None
    producers: Producers | None = None
    queue: AnyQueue
    consumers: Consumers
    scaling: AnyScaling | None = None
    faults: tuple[Fault, ...] = ()
    horizon_s: PositiveSeconds = Field(default=None)  # type: ignore[assignment]  # _checked fills it in
    warm_up_s: WarmUp = "auto"
    model: ModelName | None = None
    seed: CountOrZero = 1

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        view: Scenario | Partial
        errors: list[Mapping[str, Any]] = []
        try:
            view = scenario = handler(data)
        except ValidationError as error:
            if not isinstance(data, Mapping):
                raise
            errors += error.errors(include_url=False)
            view = partial(cls, data, info, _section_types(data))
        errors += [_detail(complaint, view) for complaint in run_checks(view)]
        if errors:
            raise validation_error(cls, errors)
        assert isinstance(view, Scenario)
        if view.horizon_s is None:
            view.__dict__["horizon_s"] = view.arrivals.length_s  # the record is frozen from here on
        return scenario

    @property
    def fleet_varies(self) -> bool:
        """Whether instances of the consumers come and go."""
        return self.scaling is not None or bool(kills(self.faults))

    def schedule(self) -> Schedule:
        """When messages fall due, up to the horizon."""
        return self.arrivals.schedule(self.horizon_s)

    def semantics(self) -> DeliverySemantics:
        """What the broker does with a message."""
        return providers.semantics(self)

    def behaviour(self) -> ReceiveBehaviour:
        """How the consumers get, renew and settle messages; in a window, receives fill a whole batch of the handler."""
        found = providers.behaviour(self)
        most, held = self.handler.most_of(found.batch), self.consumers.held_most(found.receivers)
        if (
            held is not None and most > 1 and found.credit_returned == "taken"
        ):  # what handlers have takes memory too
            found = found.in_room(held - most * (self.consumers.workers // found.receivers))
        if self.handler.window_s is None:
            return found
        return replace(found, in_hand_limit=most, refill_at=most, gather_s=self.handler.window_s)

    def call_model(self) -> CallModel:
        """How long calls to the broker take."""
        return providers.call_model(self)

    def priors(self) -> frozenset[str]:
        """The parameters of the provider model on which answers rest and which nobody has measured: calibrate them."""
        return providers.priors(self)

    def rate_limits(self) -> tuple[RateLimit, ...]:
        """The rates above which the broker refuses calls: its own, and those that faults put on it for a while."""
        linked = self.behaviour().discipline != "poll"
        own = providers.rate_limits(self)
        faults = [fault for fault in self.faults if isinstance(fault, Throttling)]
        return (*own, *(_rate_limit(fault, linked) for fault in faults))

    def retries(self) -> Retries:
        """What a client does when the broker refuses a call."""
        return providers.retries(self)

    def provider_model(self) -> ProviderModel:
        """The provider model in use."""
        return providers.model_of(self)

    def provider(self) -> Provider:
        """The provider of the queue."""
        return get_provider(self.queue.provider)

    def service_distribution(self) -> Distribution:
        """How long one attempt of a handler takes, in seconds; hints are those of the whole trace, scaled."""
        if isinstance(self.service_time, TimeShape):
            return self.service_time.distribution()
        hints_s = self.service_by_message_s(whole_trace=True)
        assert hints_s is not None  # a rule of every scenario
        return Empirical(samples=tuple(hints_s.tolist()))

    def service_by_message_s(self, *, whole_trace: bool = False) -> NDArray[np.float64] | None:
        """The service time of each message in seconds if the trace decides it, else None.

        The scale is that of the whole trace, so a shorter horizon changes no message.
        whole_trace: also the messages that are due after the horizon.
        """
        if not isinstance(self.service_time, HintsTime) or not isinstance(self.arrivals, TraceFile):
            return None
        hint = read_trace(self.arrivals.file).service_hint
        assert hint is not None  # a rule of every scenario
        by_message_s = hint * (self.service_time.mean_s * len(hint) / math.fsum(hint.tolist()))
        if whole_trace:
            return by_message_s
        due_s = self.schedule().due_s
        assert due_s is not None
        return by_message_s[: len(due_s)]

    def group_by_message(self) -> NDArray[np.int64] | None:
        """The group of each message up to the horizon, numbered from 0, if the trace decides it, else None."""
        if self.groups is None or self.groups.kind != "trace" or not isinstance(self.arrivals, TraceFile):
            return None
        group = read_trace(self.arrivals.file).group
        due_s = self.schedule().due_s
        assert group is not None  # a rule of every scenario
        assert due_s is not None
        return group[: len(due_s)]

    def with_(self, **changes: Any) -> Scenario:
        """This scenario with other values, checked anew.

        A mapping changes a section: ``with_(consumers={"workers": 16})`` keeps its other keys, and None takes
        one out. Anything else replaces the whole value. Names are those of Python or of YAML.
        """
        return Scenario(**_merged(self, changes))

    def replace(self, path: str, value: Any) -> Scenario:
        """This scenario with one value changed, checked anew: ``replace("consumers.workers", 16)``."""
        *sections, name = path.split(".")
        changes: Any = {name: value}
        for section in reversed(sections):
            changes = {section: changes}
        return self.with_(**changes)

    def using(self, preset: QueueAndConsumers) -> Scenario:
        """This workload with the queue and the consumers of a preset, checked anew.

        What belongs to the deployment and is not in the preset stays: instances and instance_price. A named
        provider model of another provider is dropped.
        """
        kept = {
            name: getattr(self.consumers, name)
            for name in ("instances", "instance_price_usd_per_hour")
            if name in self.consumers.model_fields_set - preset.consumers.model_fields_set
        }
        given = {name: getattr(preset.consumers, name) for name in preset.consumers.model_fields_set}
        changes: dict[str, Any] = {"queue": preset.queue, "consumers": Consumers(**given, **kept)}
        if preset.retry is not None:
            changes["failures"] = {"retry": preset.retry}
        if preset.queue.provider != self.queue.provider:
            changes["model"] = None
        return self.with_(**changes)

    def scaled_load(self, factor: float) -> Scenario:
        """This workload, ``factor`` times as fast: every rate, or the number of messages or customers.

        The clock of a trace is divided by the factor, and with it the horizon and the instants of faults,
        which belong to that clock; how long a fault lasts, and the warm-up, do not change.
        """
        if not (math.isfinite(factor) and factor > 0.0):
            problem = Problem(
                where="scaled_load", value=text_of(factor), message="a factor is a number above 0"
            )
            raise ScenarioError(problem)
        changes: dict[str, Any] = {"arrivals": self.arrivals.scaled(factor)}
        if isinstance(self.arrivals, TraceFile):
            changes["faults"] = tuple(fault.with_start(fault.at_s / factor) for fault in self.faults)
            if "horizon_s" in self.model_fields_set:
                changes["horizon_s"] = self.horizon_s / factor
        return self.with_(**changes)


def _rate_limit(fault: Throttling, linked: bool) -> RateLimit:
    counted: dict[Op, int] = dict.fromkeys(fault.calls, 1)
    if "settle" in counted:
        counted["abandon"] = 1
    pushed: dict[Op, int] = {}
    if linked and "receive" in counted:
        pushed["receive"] = counted.pop("receive")
    return RateLimit(
        name=fault.kind,
        credits=int(fault.rate_per_s),
        call_cost=counted,
        message_cost=pushed,
        start_s=fault.at_s,
        end_s=fault.end_s,
    )


def _detail(complaint: Complaint, view: Scenario | Partial) -> Mapping[str, Any]:
    """A complaint as a validation error, with the value that stands at its place."""
    location = tuple(int(step) if step.isdigit() else step for step in complaint.path.split("."))
    return detail_of(location, value_at(view, location), complaint.message, complaint.source)


def _merged(record: Record, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values a record was made of, with changes; a mapping is merged into the section it changes."""
    named = record.model_fields_set | (_KIND_KEYS & type(record).model_fields.keys())
    values = {name: getattr(record, name) for name in named}
    python_names = {yaml_name(name): name for name in type(record).model_fields}
    for key, change in changes.items():
        name = python_names.get(key, key)
        section = getattr(record, name, None)
        if change is None:
            values.pop(name, None)
        elif (
            isinstance(change, Mapping)
            and isinstance(section, Record)
            and not _is_other_kind(section, change)
        ):
            values[name] = _merged(section, change)
        else:
            values[name] = change
    return values


def _is_other_kind(section: Record, change: Mapping[str, Any]) -> bool:
    """True if a change makes another kind of record of the section, which then shares no keys with it."""
    return any(key in change and change[key] != getattr(section, key, change[key]) for key in _KIND_KEYS)
