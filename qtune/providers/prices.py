"""Price lists as data: what a request, an hour of a namespace or an hour of a consumer instance costs."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from qtune.errors import ModelError
from qtune.providers.base import Price
from qtune.records import (
    Bytes,
    CountOrZero,
    NumberOrZero,
    PositiveNumber,
    Record,
    Text,
    YesOrNo,
    refuse,
    wrong_at,
)


class _ModelRecord(Record):
    error_type = ModelError


class PriceTier(_ModelRecord):
    """Requests of a month up to ``up_to`` (None: all further ones) cost ``usd_per_million`` a million."""

    up_to: PositiveNumber | None = None
    usd_per_million: NumberOrZero


class RequestPrice(_ModelRecord):
    """What requests cost in a month.

    billed: a "call" counts once however many messages it carries, or each "message" in it counts.
    chunk_bytes: each started chunk of payload counts as one request.
    empty_receives: True if a receive that finds nothing is billed. refused_calls: the same of a throttled call; no
        provider states it, so the default is the dearer answer.
    free_per_month: the first so many requests of a month cost nothing; tiers count from the first request.
    """

    billed: Literal["call", "message"]
    chunk_bytes: Bytes
    empty_receives: YesOrNo = True
    refused_calls: YesOrNo = True
    free_per_month: CountOrZero = 0
    tiers: Annotated[tuple[PriceTier, ...], Field(min_length=1)]
    source: Text
    as_of: date

    @model_validator(mode="after")
    def _ascending(self) -> RequestPrice:
        if not self.chunk_bytes:
            raise wrong_at(("chunk_bytes",), self.chunk_bytes, "a chunk holds at least 1 byte")
        bounds = [tier.up_to for tier in self.tiers]
        inner = [bound for bound in bounds[:-1] if bound is not None]
        if bounds[-1] is not None or len(inner) != len(bounds) - 1 or sorted(set(inner)) != inner:
            raise refuse("tiers need ascending up_to values, and the last tier none")
        return self

    def usd(self, requests: float) -> float:
        """What so many requests in one month cost, in US dollars."""
        total_usd, counted = 0.0, float(self.free_per_month)
        for tier in self.tiers:
            top = requests if tier.up_to is None else min(requests, tier.up_to)
            if top > counted:
                total_usd += (top - counted) / 1e6 * tier.usd_per_million
                counted = top
        return total_usd


class HourPrice(_ModelRecord):
    """What an hour of the provider's own capacity costs: of a namespace, or of one messaging unit."""

    per: Literal["namespace", "messaging_unit"]
    usd: NumberOrZero
    source: Text
    as_of: date


class ConnectionPrice(_ModelRecord):
    """What each connection beyond ``included`` ones costs a month while it stands open."""

    included: CountOrZero
    usd_per_month: NumberOrZero
    source: Text
    as_of: date


class Plan(_ModelRecord):
    """What one queue type or tier costs: by request, by hour, by connection, several of these, or nothing."""

    requests: RequestPrice | None = None
    hours: HourPrice | None = None
    connections: ConnectionPrice | None = None


class InstancePrice(_ModelRecord):
    """What one consumer instance costs an hour.

    assumption: True for a round figure that stands in until the user gives ``consumers.instance_price``.
    """

    usd_per_hour: NumberOrZero
    assumption: YesOrNo
    source: Text
    as_of: date


class Prices(_ModelRecord):
    """A provider's price list: one plan per queue type or tier, and the price of a consumer instance."""

    plans: dict[str, Plan]
    instance: InstancePrice

    def rows(self) -> tuple[Price, ...]:
        """Every line of the list, flat, for a table."""
        found = []
        for name, plan in self.plans.items():
            if plan.requests:
                for tier in plan.requests.tiers:
                    top = f", up to {tier.up_to:.15g} a month" if tier.up_to else ""
                    found.append(
                        Price(
                            item=f"{name}: requests{top}",
                            usd=tier.usd_per_million,
                            per="million requests",
                            source=plan.requests.source,
                            as_of=plan.requests.as_of.isoformat(),
                        )
                    )
            if plan.hours:
                per = f"{plan.hours.per.replace('_', ' ')} hour"
                found.append(
                    Price(
                        item=f"{name}: {per}",
                        usd=plan.hours.usd,
                        per=per,
                        source=plan.hours.source,
                        as_of=plan.hours.as_of.isoformat(),
                    )
                )
            if plan.connections:
                found.append(
                    Price(
                        item=f"{name}: connection beyond {plan.connections.included:,}",
                        usd=plan.connections.usd_per_month,
                        per="connection month",
                        source=plan.connections.source,
                        as_of=plan.connections.as_of.isoformat(),
                    )
                )
        assumed = " (assumption)" if self.instance.assumption else ""
        found.append(
            Price(
                item=f"consumer instance{assumed}",
                usd=self.instance.usd_per_hour,
                per="instance hour",
                source=self.instance.source,
                as_of=self.instance.as_of.isoformat(),
            )
        )
        return tuple(found)
