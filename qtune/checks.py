"""The rules between the sections of a scenario, and how all of them are asked even when some fields are
invalid.

A rule reads a scenario and yields complaints. When fields are invalid, the rules read a partial scenario
instead, whose valid fields answer as usual; a rule that asks for an invalid one is given up, as that field
has its own error. So one reading of a file reports everything that is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError, ValidationInfo
from pydantic_core import PydanticUndefined

from qtune.autoscaling import scaling_fits
from qtune.errors import InputError, did_you_mean
from qtune.faults import bursts_can_be_added, short_of_victims
from qtune.groups import groups_come_from_a_trace
from qtune.handler_checks import HANDLER_CHECKS
from qtune.providers.files import load_model
from qtune.providers.queue import Check, Provider
from qtune.providers.registry import get_provider
from qtune.providers.rules import offered
from qtune.records import Complaint, Location, Record, is_strict, yaml_name
from qtune.units import format_duration

MOST_WORKERS = 1_000_000


class InvalidFieldError(Exception):
    """A rule has asked for a field that has an error of its own."""


class Partial:
    """The valid fields of a record of which others are invalid."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise InvalidFieldError(name) from None


def partial(
    record: type[Record], data: Mapping[str, Any], info: ValidationInfo, sections: Mapping[str, type[Record]]
) -> Partial:
    """What is valid in ``data`` as a ``record``; an invalid one of the ``sections`` is partial in turn."""
    values: dict[str, Any] = {}
    for name, field in record.model_fields.items():
        keys = (yaml_name(name),) if is_strict(info) else (name, yaml_name(name))
        given = next((data[key] for key in keys if key in data), PydanticUndefined)
        if given is PydanticUndefined:
            if not field.is_required():
                values[name] = field.get_default(call_default_factory=True)
            continue
        try:
            values[name] = _adapter(record, name).validate_python(
                given, context=info.context, by_alias=True, by_name=not is_strict(info)
            )
        except ValidationError:
            if name in sections and isinstance(given, Mapping):
                values[name] = partial(sections[name], given, info, {})
    return Partial(values)


@lru_cache(maxsize=256)
def _adapter(record: type[Record], name: str) -> TypeAdapter[Any]:
    field = record.model_fields[name]
    annotated: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return TypeAdapter(annotated)


def run_checks(scenario: Any) -> list[Complaint]:
    """What all rules, the general ones and the provider's, have to say about a scenario or a partial one."""
    checks: list[Check] = list(CHECKS)
    with suppress(InvalidFieldError, InputError):  # a queue without a provider has an error of its own
        checks += _provider(scenario).checks
    complaints: list[Complaint] = []
    for check in checks:
        try:
            complaints += check(scenario)
        except InvalidFieldError:
            continue
        except InputError as error:  # a file that the provider itself names is not as it should be
            complaints.append(Complaint(path="queue.provider", message=str(error)))
    return list(dict.fromkeys(complaints))


def value_at(scenario: Any, location: Location) -> Any:
    """The value at a place of a scenario or a partial one; None if nothing valid stands there."""
    value = scenario
    for step in location:
        try:
            value = value[step] if isinstance(step, int) else getattr(value, step)
        except (InvalidFieldError, AttributeError, LookupError):
            return None
    return value


def _provider(scenario: Any) -> Provider:
    return get_provider(scenario.queue.provider)


def _client_is_known(scenario: Any) -> Iterator[Complaint]:
    client, provider = scenario.consumers.client, _provider(scenario)
    if client is not None and client not in provider.clients:
        known = ", ".join(provider.clients)
        yield Complaint(
            path="consumers.client",
            message=f"this must be one of {known}.{did_you_mean(client, provider.clients)}",
        )


def _traits(scenario: Any) -> Any:
    """The traits of the scenario's client; a rule that needs them is given up if the client is unknown."""
    provider = _provider(scenario)
    client = scenario.consumers.client or provider.default_client
    if client not in provider.clients:
        raise InvalidFieldError("client")
    return provider.clients[client]


def _setting_is_offered(name: str) -> Check:
    def check(scenario: Any) -> Iterator[Complaint]:
        yield from offered(scenario, _traits(scenario), name)

    return check


def _retry_mode_is_known(scenario: Any) -> Iterator[Complaint]:
    traits, mode = _traits(scenario), scenario.consumers.retry_mode
    if mode is not None and mode not in traits.retries:
        known = ", ".join(traits.retries)
        message = f"{traits.name} has the retry modes {known}.{did_you_mean(mode, traits.retries)}"
        source = next(iter(traits.retries.values())).source
        yield Complaint(path="consumers.retry_mode", message=message, source=source)


def _polling_is_offered(scenario: Any) -> Iterator[Complaint]:
    traits, polling = _traits(scenario), scenario.consumers.polling
    if polling is not None and "polling" not in traits.instead and polling not in traits.polling:
        yield Complaint(
            path="consumers.polling", message=f"{traits.name} polls by {' or '.join(traits.polling)}"
        )


def _settle_is_offered(scenario: Any) -> Iterator[Complaint]:
    traits, settle = _traits(scenario), scenario.consumers.settle
    if settle not in traits.settle:
        message = f"{traits.name} has no batch settlement: use settle: concurrent to overlap the round trips"
        yield Complaint(path="consumers.settle", message=message, source=traits.sources.get("settle_batch"))


def _settle_batch_has_a_use(scenario: Any) -> Iterator[Complaint]:
    consumers = scenario.consumers
    if (
        consumers.settle_batch is not None
        and consumers.settle != "batch"
        and "batch" in _traits(scenario).settle
    ):
        message = f"settle is {consumers.settle}: use settle: batch, or leave settle_batch out"
        yield Complaint(path="consumers.settle_batch", message=message)


def _buffer_goes_with_polling(scenario: Any) -> Iterator[Complaint]:
    consumers, traits = scenario.consumers, _traits(scenario)
    if traits.discipline != "poll":
        return
    polling = consumers.polling or traits.polling[0]
    for name in ("buffer", "refill_at"):
        if polling != "buffer" and getattr(consumers, name) is not None:
            message = f"polling is {polling}, which has no buffer: use polling: buffer, or leave {name} out"
            yield Complaint(path=f"consumers.{name}", message=message)
    if polling == "buffer" and consumers.buffer is None:
        yield Complaint(
            path="consumers.polling", message="polling: buffer needs its size, such as buffer: 100"
        )


def _refill_fits_buffer(scenario: Any) -> Iterator[Complaint]:
    buffer, refill_at = scenario.consumers.buffer, scenario.consumers.refill_at
    if buffer is not None and refill_at is not None and refill_at > buffer:
        yield Complaint(
            path="consumers.refill_at",
            message=f"the buffer of {buffer} never has so many free places, so it would never be refilled",
        )


def _receivers_fit_workers(scenario: Any) -> Iterator[Complaint]:
    consumers, traits = scenario.consumers, _traits(scenario)
    receivers, workers = consumers.receivers, consumers.workers
    if receivers is None:
        return
    source = traits.sources.get("receivers")
    if traits.receivers == "one" and receivers != 1:
        message = (
            f"{traits.name} has one receiver in an instance, which feeds all workers: leave receivers out"
        )
        yield Complaint(path="consumers.receivers", message=message, source=source)
    elif traits.receivers == "worker" and receivers != workers:
        message = f"{traits.name} has one receiver for each worker, here {workers}: leave receivers out"
        yield Complaint(path="consumers.receivers", message=message, source=source)
    elif workers % receivers:
        divisors = ", ".join(str(n) for n in range(1, workers + 1) if workers % n == 0)
        message = (
            f"each receiver serves the same number of workers, so it divides workers ({workers}): {divisors}"
        )
        yield Complaint(path="consumers.receivers", message=message)


def _renewal_outlasts_lock(scenario: Any) -> Iterator[Complaint]:
    renewal = scenario.consumers.renewal
    if renewal is None:
        return
    lock_s = _provider(scenario).semantics(scenario.queue).lock_s
    if renewal.max_s < lock_s:
        message = (
            f"a lock already lasts {format_duration(lock_s)} without renewal, so this renews nothing: "
            "use a longer max, or leave renewal out"
        )
        yield Complaint(path="consumers.renewal.max_s", message=message)


def _warm_up_ends(scenario: Any) -> Iterator[Complaint]:
    warm_up_s, horizon_s = scenario.warm_up_s, scenario.horizon_s
    if horizon_s is None:
        horizon_s = scenario.arrivals.length_s
    if warm_up_s != "auto" and horizon_s is not None and warm_up_s >= horizon_s:
        message = (
            f"the warm-up must end before the horizon ({format_duration(horizon_s)}), or nothing is counted"
        )
        yield Complaint(path="warm_up_s", message=message)


def _horizon_is_known(scenario: Any) -> Iterator[Complaint]:
    arrivals = scenario.arrivals
    if scenario.horizon_s is None and arrivals.length_s is None:
        message = (
            f"{arrivals.kind} arrivals do not end by themselves: say how long to look, such as horizon: 1h"
        )
        yield Complaint(path="horizon_s", message=message)


def _faults_happen(scenario: Any) -> Iterator[Complaint]:
    horizon_s = scenario.arrivals.length_s if scenario.horizon_s is None else scenario.horizon_s
    if horizon_s is None:
        return
    for index, fault in enumerate(scenario.faults):
        if fault.at_s >= horizon_s:
            message = (
                f"this is not before the horizon ({format_duration(horizon_s)}), so it would never happen"
            )
            yield Complaint(path=f"faults.{index}.at_s", message=message)


def _pauses_do_not_overlap(scenario: Any) -> Iterator[Complaint]:
    pauses = [item for item in enumerate(scenario.faults) if item[1].kind == "pause_handlers"]
    in_time = sorted(pauses, key=lambda item: item[1].at_s)
    for (_, before), (index, fault) in pairwise(in_time):
        if fault.at_s < before.end_s:
            message = f"the pause before it lasts until {format_duration(before.end_s)}: join the two"
            yield Complaint(path=f"faults.{index}.at_s", message=message)


def _kills_find_victims(scenario: Any) -> Iterator[Complaint]:
    found = short_of_victims(scenario.faults, scenario.consumers.instances)
    if scenario.scaling is not None:  # how many run is then known only when it is simulated
        return
    if found is not None:
        kill, running = found
        index = next(n for n, fault in enumerate(scenario.faults) if fault is kill)
        message = (
            f"only {running} of {scenario.consumers.instances} instances run then: take no more than those"
        )
        yield Complaint(path=f"faults.{index}.count", message=message)


def _load_can_be_held(scenario: Any) -> Iterator[Complaint]:
    arrivals = scenario.arrivals
    horizon_s = arrivals.length_s if scenario.horizon_s is None else scenario.horizon_s
    message = None if horizon_s is None else arrivals.too_much(horizon_s)
    if message is not None:
        yield Complaint(path="arrivals", message=message)


def _fleet_can_be_held(scenario: Any) -> Iterator[Complaint]:
    consumers = scenario.consumers
    if consumers.instances * consumers.workers > MOST_WORKERS:
        message = f"a run has at most {MOST_WORKERS:,} workers, and instances times workers is more"
        yield Complaint(path="consumers.instances", message=message)


def _hints_come_from_a_trace(scenario: Any) -> Iterator[Complaint]:
    if scenario.service_time.family == "hints" and not scenario.arrivals.has_hints:
        message = "hints need arrivals of the kind trace, from a file with a service_hint column"
        yield Complaint(path="service_time.family", message=message)


def _model_fits_provider(scenario: Any) -> Iterator[Complaint]:
    provider, model = _provider(scenario), scenario.model
    if model is None:
        return
    loaded = load_model(model)
    if loaded.provider != provider.name:
        yield Complaint(
            path="model", message=f"this is a model of {loaded.provider}, and the queue is {provider.name}"
        )


def _model_knows_client_and_plan(scenario: Any) -> Iterator[Complaint]:
    provider, traits = _provider(scenario), _traits(scenario)
    model = load_model(scenario.model or provider.default_model)
    if model.provider == provider.name and traits.name not in model.clients:
        known = ", ".join(model.clients)
        message = f"the model {model.name} has no costs of the client {traits.name}; it has {known}"
        yield Complaint(path="consumers.client" if scenario.consumers.client else "model", message=message)
    plan, plans = scenario.queue.plan, model.prices.plans
    if model.provider == provider.name and plan not in plans:
        message = f"the model {model.name} has no prices of the plan {plan}; it has {', '.join(plans)}"
        yield Complaint(path="model", message=message)


def _polling_takes_time(scenario: Any) -> Iterator[Complaint]:
    provider, traits = _provider(scenario), _traits(scenario)
    if traits.discipline != "poll":
        return
    model = load_model(scenario.model or provider.default_model)
    wait_s = scenario.consumers.receive_wait_s
    wait_s = traits.receive_wait_s if wait_s is None else wait_s
    takes_no_time = model.latency.receive.time.distribution().quantile(1e-9) <= 0.0
    if takes_no_time and wait_s == 0.0 and not scenario.consumers.idle_pause_s:
        message = "an empty receive takes no time and is repeated for ever: set receive_wait or idle_pause"
        yield Complaint(path="consumers.receive_wait_s", message=message)
    refuses = any(fault.kind in ("outage", "throttling", "drop_connections") for fault in scenario.faults)
    if takes_no_time and refuses and not scenario.consumers.idle_pause_s:
        message = "a receive that is refused takes no time and is repeated for ever: set idle_pause"
        yield Complaint(path="consumers.idle_pause_s", message=message)


CHECKS: tuple[Check, ...] = (
    _client_is_known,
    *(
        _setting_is_offered(name)
        for name in (
            "prefetch",
            "polling",
            "buffer",
            "refill_at",
            "receive_batch",
            "receive_wait_s",
            "idle_pause_s",
            "other_queues",
            "max_pool_connections",
            "settle_batch",
            "credit_returned",
        )
    ),
    _retry_mode_is_known,
    _polling_is_offered,
    _settle_is_offered,
    _settle_batch_has_a_use,
    _buffer_goes_with_polling,
    _refill_fits_buffer,
    _receivers_fit_workers,
    _renewal_outlasts_lock,
    _warm_up_ends,
    _horizon_is_known,
    _faults_happen,
    _pauses_do_not_overlap,
    _kills_find_victims,
    scaling_fits,
    bursts_can_be_added,
    _load_can_be_held,
    _fleet_can_be_held,
    _hints_come_from_a_trace,
    groups_come_from_a_trace,
    _model_fits_provider,
    _model_knows_client_and_plan,
    _polling_takes_time,
    *HANDLER_CHECKS,
)
