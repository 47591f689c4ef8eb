"""Requests of BillingService as values of the ledger."""

from scrip.v1 import billing_service_pb2 as pb
from scrip.v1 import types_pb2 as types_pb

from ledger import (
    DEFAULT_ASSET,
    AutoRecharge,
    Change,
    Checkout,
    Consent,
    Granted,
    Money,
    Package,
    PackageContent,
    Plan,
    PlanContent,
    Rollover,
)
from server.choices import PLAN_CHANGES, PLAN_GRANTED
from server.times import instant_of, length_of


def package_of(message: pb.Package, *, active: bool = True) -> Package:
    """What is to be sold; raises MalformedError."""
    return Package(
        package=message.package,
        title=message.title,
        description=message.description,
        contents=tuple(_package_content(f"contents[{n}]", content) for n, content in enumerate(message.contents)),
        price=money_of(message.price),
        sort_order=message.sort_order,
        metadata=dict(message.metadata),
        active=active,
        version=message.version,
    )


def plan_of(message: pb.Plan) -> Plan:
    """What is to be sold by subscription; raises MalformedError."""
    return Plan(
        plan=message.plan,
        title=message.title,
        stripe_prices=tuple(message.stripe_prices),
        contents=tuple(_plan_content(f"contents[{n}]", content) for n, content in enumerate(message.contents)),
        change=PLAN_CHANGES("change", message.change, Change.PRO_RATA),
        granted=PLAN_GRANTED("granted", message.granted, Granted.PER_PERIOD),
        grace=length_of("grace", message.grace) if message.HasField("grace") else None,
        active=message.active,
        version=message.version,
    )


def checkout_of(request: pb.CreateCheckoutRequest, tenant: str) -> Checkout:
    """What a customer is to pay; raises MalformedError."""
    return Checkout(
        tenant=tenant,
        request_id=request.request_id,
        account_id=request.account_id,
        package=request.package,
        plan=request.plan,
        success_url=request.success_url,
        cancel_url=request.cancel_url,
        save_payment_method=request.save_payment_method,
    )


def auto_recharge_of(message: pb.AutoRecharge, tenant: str) -> AutoRecharge:
    """How an account is to recharge itself; raises MalformedError."""
    consent = message.consent
    return AutoRecharge(
        tenant=tenant,
        account_id=message.account_id,
        asset=message.asset or DEFAULT_ASSET,
        enabled=message.enabled,
        threshold=message.threshold,
        package=message.package,
        target=message.target,
        cap=money_of(message.cap) if message.HasField("cap") else None,
        consent=Consent(text=consent.text, actor=consent.actor, at=instant_of("consent.at", consent.at))
        if message.HasField("consent")
        else None,
    )


def money_of(message: types_pb.Money) -> Money:
    """Minor units of a currency."""
    return Money(minor_units=message.minor_units, currency=message.currency)


def _package_content(field: str, message: pb.PackageContent) -> PackageContent:
    bonus_validity = message.bonus_validity
    return PackageContent(
        asset=message.asset or DEFAULT_ASSET,
        credits=message.credits,
        bonus_credits=message.bonus_credits,
        validity=length_of(f"{field}.validity", message.validity) if message.HasField("validity") else None,
        bonus_validity=length_of(f"{field}.bonus_validity", bonus_validity)
        if message.HasField("bonus_validity")
        else None,
    )


def _plan_content(field: str, message: pb.PlanContent) -> PlanContent:
    rollover = message.rollover
    return PlanContent(
        asset=message.asset or DEFAULT_ASSET,
        credits=message.credits,
        unlimited=message.unlimited,
        rollover=Rollover(
            share_percent=rollover.share_percent,
            cap=rollover.cap,
            ttl=length_of(f"{field}.rollover.ttl", rollover.ttl) if rollover.HasField("ttl") else None,
        )
        if message.HasField("rollover")
        else None,
    )
