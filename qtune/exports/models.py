"""The catalogue as a report: of every provider in short, or of one model in full."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

from qtune.exports.calibrations import calibration_sections
from qtune.exports.holdings import Catalogue
from qtune.exports.report import Report, Section
from qtune.providers import Provider, ProviderModel, Retries
from qtune.providers.model import Broker, HandOut, Latency, Looking, Sampling, Traffic
from qtune.providers.queue import ClientTraits
from qtune.providers.rules import bound_text
from qtune.records import yaml_name
from qtune.targets import Targets
from qtune.units import format_duration, format_fraction, format_usd
from qtune.writing import plain

_OPERATIONS = ("send", "receive", "settle", "renew")
_RENEWED_LOCKS_S = (30.0, 60.0)


def describe_catalogue(catalogue: Catalogue) -> Report:
    """The report on a catalogue: a line for each model, or all about the only one."""
    if catalogue.whole:
        sections = tuple(_of_everything(catalogue))
        title = "What qtune knows; `qtune models NAME` says all about one model, with sources and dates"
    else:
        (name, model), *_ = catalogue.models.items()
        sections = tuple(_of_model(catalogue, name, model))
        title = f"{model.name} {model.version} of {model.as_of}: {model.summary}"
    return Report(title=title, sections=sections, data=_data(catalogue))


def _of_everything(catalogue: Catalogue) -> Iterator[Section]:
    yield _models_section(catalogue)
    yield _presets_section(catalogue, None)
    yield from _targets_sections(catalogue)
    yield Section(title="Example scenarios", notes=tuple(catalogue.examples))


def _models_section(catalogue: Catalogue) -> Section:
    rows = []
    for name, model in catalogue.models.items():
        provider = catalogue.provider_of(name)
        latencies = [getattr(model.latency, operation) for operation in _OPERATIONS]
        assumed = sum(latency.prior for latency in latencies)
        known = f"{'all' if assumed == len(latencies) else assumed} latencies are priors"
        clients = ", ".join(provider.clients)
        rows.append((name, model.version, f"{model.summary}; {known}; clients: {clients}"))
    return Section(title="Provider models", columns=("", "version", ""), rows=tuple(rows))


def _presets_section(catalogue: Catalogue, provider: str | None) -> Section:
    presets = catalogue.presets if provider is None else catalogue.presets_of(provider)
    rows = tuple((name, f"{preset.summary} ({preset.source})") for name, preset in presets.items())
    return Section(title="Presets", rows=rows, notes=() if rows else ("none for this provider",))


def _targets_sections(catalogue: Catalogue) -> tuple[Section, Section]:
    metrics = tuple(
        (
            f"{metric.name}={metric.example}",
            metric.sense,
            metric.meaning + (f"; not evaluated: {metric.not_evaluated}" if metric.not_evaluated else ""),
        )
        for metric in catalogue.metrics.values()
    )
    profiles = tuple((name, str(Targets.parse(name))) for name in catalogue.profiles)
    return (
        Section(title="Targets", columns=("example", "bound", "of what"), rows=metrics),
        Section(title="Profiles of targets", rows=profiles),
    )


class Sources:
    """The sources of one report, each told once: a number in brackets stands for it in the tables."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, source: str) -> str:
        """The mark of a source, such as [1]; "" for none."""
        return f"[{self._numbers.setdefault(source, len(self._numbers) + 1)}]" if source else ""

    def section(self) -> Section:
        """All sources by their marks."""
        return Section(title="Sources", rows=tuple((f"[{no}]", text) for text, no in self._numbers.items()))


def _of_model(catalogue: Catalogue, name: str, model: ProviderModel) -> Iterator[Section]:
    provider, sources = catalogue.provider_of(name), Sources()
    if model.calibration is not None:
        yield from calibration_sections(model.calibration)
    yield _latency_section(model, sources)
    for client in provider.clients.values():
        yield _client_section(client, model, client.name == provider.default_client, sources)
    yield _limits_section(provider, sources)
    yield _unmodelled_section(provider, sources)
    yield from _rules_sections(provider, sources)
    yield Section(
        title="Prices",
        columns=("USD", "for one", "from", "of what"),
        rows=tuple(
            (format_usd(price.usd), price.per, sources.mark(f"{price.source}; {price.as_of}"), price.item)
            for price in model.prices.rows()
        ),
    )
    yield _presets_section(catalogue, provider.name)
    yield sources.section()


def _latency_section(model: ProviderModel, sources: Sources) -> Section:
    rows = tuple(
        (operation, *_latency_texts(getattr(model.latency, operation), sources)) for operation in _OPERATIONS
    )
    return Section(
        title="Round trips (a prior is assumed: nobody has measured it)",
        columns=("", "mean", "p95", "p99", "family", "known", "from"),
        rows=rows,
        notes=tuple(_broker_notes(model.broker, sources)),
    )


def _broker_notes(broker: Broker, sources: Sources) -> Iterator[str]:
    """What the model says of the broker beside round trips."""

    def known(parameter: HandOut | Looking | Sampling | Traffic) -> str:
        stated = sources.mark(f"{parameter.source}; {parameter.as_of}")
        return f"({'prior' if parameter.prior else 'measured'}) {stated}"

    served = broker.calls_served_at_once
    yield f"the broker serves {f'{served} calls' if served else 'any number of calls'} at once"
    if broker.hand_out is not None:
        whom = broker.hand_out.to.replace("_", " ")
        yield f"of several receives that wait, the next message goes to: {whom} {known(broker.hand_out)}"
    if broker.long_poll is not None:
        every = format_duration(broker.long_poll.every_s)
        yield f"it looks for messages for a receive that waits every {every} {known(broker.long_poll)}"
    if broker.short_poll is not None:
        share = format_fraction(broker.short_poll.share)
        yield f"a receive that does not wait sees {share} of the messages {known(broker.short_poll)}"
    if broker.traffic is not None:
        carried = f"{broker.traffic.bytes_per_unit:,} bytes a second each way"
        yield f"a messaging unit carries {carried} {known(broker.traffic)}"


def _latency_texts(latency: Latency, sources: Sources) -> tuple[str, ...]:
    time = latency.time.distribution()
    return (
        format_duration(time.mean),
        format_duration(time.quantile(0.95)),
        format_duration(time.quantile(0.99)),
        latency.time.family,
        "prior" if latency.prior else "measured",
        sources.mark(f"{latency.source}; {latency.as_of}"),
    )


def _client_section(client: ClientTraits, model: ProviderModel, default: bool, sources: Sources) -> Section:
    retries = {f"retries, {name}": mode.source for name, mode in client.retries.items()}
    stated = {**client.sources, **retries}
    rows = [
        (yaml_name(name), value, sources.mark(stated.get(name, "")))
        for name, value in traits_of(client).items()
    ]
    cost = model.clients.get(client.name)
    if cost is not None:
        each, more = format_duration(cost.call_cost_s), format_duration(cost.message_cost_s)
        spent = f"{each} a call, {more} a message ({'prior' if cost.prior else 'measured'})"
        rows.append(("processor time", spent, sources.mark(f"{cost.source}; {cost.as_of}")))
    absent = tuple(f"no {yaml_name(name)}: {said.format(value='N')}" for name, said in client.instead.items())
    mark = ", the default" if default else ""
    return Section(
        title=f"Client {client.name}{mark}", columns=("", "", "from"), rows=tuple(rows), notes=absent
    )


def traits_of(client: ClientTraits) -> dict[str, str]:
    """What a client library does that its users cannot change, and its defaults, as text by name."""
    renewals = ", ".join(
        f"a {format_duration(lock_s)} lock after {format_duration(client.renew_after_s(lock_s))}"
        for lock_s in _RENEWED_LOCKS_S
    )
    receivers = {"any": "as many as wanted", "one": "one an instance", "worker": "one a worker"}
    return {
        "discipline": client.discipline,
        "receivers": receivers[client.receivers],
        "polling": ", ".join(client.polling) or "none",
        "receive_batch": f"{client.receive_batch} by default",
        "receive_wait_s": f"{format_duration(client.receive_wait_s)} by default",
        "settle": ", ".join(client.settle),
        **{f"retries, {name}": _retries(mode) for name, mode in client.retries.items()},
        "pool_connections": str(client.pool_connections) if client.pool_connections else "none",
        "settlement": "waits for the broker" if client.settlement_waits else "does not wait",
        "renew_after_s": renewals,
        "credit_returned": client.credit_returned,
        "linger_s": format_duration(client.linger_s),
        "keepalive_s": format_duration(client.keepalive_s) if client.keepalive_s < math.inf else "never",
    }


def _retries(mode: Retries) -> str:
    """A retry mode of a client: how often it makes a throttled call, and what it waits."""
    if mode.attempts == 1:
        return "one attempt"
    waits = ", ".join(format_duration(wait_s) for wait_s in mode.throttled_waits_s())
    part = "a random part of " if mode.jitter else ""
    failed = ", ".join(format_duration(wait_s) for wait_s in mode.failed_waits_s())
    slower = "; throttled clients slow down" if mode.paces else ""
    return f"{mode.attempts} attempts, {part}{waits} when throttled, {failed} when failed{slower}"


def _limits_section(provider: Provider, sources: Sources) -> Section:
    limits = [limit for limit in provider.limits if limit.modelled]
    usual = Counter(limit.checked for limit in limits).most_common(1)
    checked = usual[0][0] if usual else ""
    rows = tuple(
        (
            limit.name,
            f"{limit.sense} {bound_text(limit)}",
            "hard" if limit.hard else "adjustable",
            sources.mark(f"{limit.source}; {limit.as_of}"),
        )
        for limit in limits
    )
    usually = f"checked {checked}" if checked else "none"
    others = (f"{limit.name}: {limit.checked}" for limit in limits if limit.checked != checked)
    return Section(title="Limits", columns=("", "", "", "from"), rows=rows, notes=(usually, *others))


def _unmodelled_section(provider: Provider, sources: Sources) -> Section:
    notes = tuple(
        f"{limit.name} ({limit.sense} {bound_text(limit)}): {limit.reason} "
        f"{sources.mark(f'{limit.source}; {limit.as_of}')}"
        for limit in provider.limits
        if not limit.modelled
    )
    return Section(title="Known and not modelled", notes=notes or ("nothing of this provider",))


def _rules_sections(provider: Provider, sources: Sources) -> Iterator[Section]:
    """Every rule that changes a result: those that runs obey and where they are set, and the others with the reason."""
    obeyed = tuple(
        (rule.rule, rule.setting, sources.mark(f"{rule.source}; {rule.as_of}"))
        for rule in provider.rules
        if rule.modelled
    )
    others = tuple(
        (rule.rule, rule.reason, sources.mark(f"{rule.source}; {rule.as_of}"))
        for rule in provider.rules
        if not rule.modelled
    )
    yield _rules_section("Rules that are modelled", "set by", obeyed)
    yield _rules_section("Rules that are not modelled", "why", others)


def _rules_section(title: str, beside: str, rows: tuple[tuple[str, str, str], ...]) -> Section:
    """Rules as lines, which are too long for the columns of a table."""
    notes = tuple(f"{rule} {mark}" + (f" ({beside}: {text})" if text else "") for rule, text, mark in rows)
    return Section(title=f"{title} ({len(rows)})" if rows else title, notes=notes or ("none is listed",))


def _data(catalogue: Catalogue) -> dict[str, object]:
    return {
        "models": {name: _model_data(catalogue, name) for name in catalogue.models},
        "presets": {name: plain(preset) for name, preset in catalogue.presets.items()},
        "examples": sorted(catalogue.examples),
        "targets": {name: asdict(metric) for name, metric in catalogue.metrics.items()},
        "profiles": {name: dict(bounds) for name, bounds in catalogue.profiles.items()},
    }


def _model_data(catalogue: Catalogue, name: str) -> dict[str, object]:
    provider = catalogue.provider_of(name)
    traits = {
        client.name: {**traits_of(client), "instead": dict(client.instead), "sources": dict(client.sources)}
        for client in provider.clients.values()
    }
    limits = [asdict(limit) for limit in provider.limits]
    rules = [asdict(rule) for rule in provider.rules]
    return {**plain(catalogue.models[name]), "limits": limits, "rules": rules, "traits": traits}
