"""How Stripe's objects look before and after its API version 2025-03-31, in which many fields moved.

The stand-in keeps every object with the fields of both shapes; each shape leaves out those of the other. What begins
with an underscore is the stand-in's own.
"""

from copy import deepcopy
from enum import Enum


class Shape(Enum):
    """What an account at Stripe shows: the value is its API version."""

    OLD = "2022-08-01"
    NEW = "2026-10-28.endive"


# By the name of the object: what only this shape has.
ONLY = {
    Shape.OLD: {
        "invoice": ("subscription", "subscription_details", "payment_intent", "charge", "paid"),
        "line_item": ("price", "proration", "subscription", "subscription_item", "type"),
        "subscription": ("current_period_start", "current_period_end"),
        "payment_intent": ("charges", "invoice"),
        "charge": ("refunds", "invoice"),
    },
    Shape.NEW: {
        "invoice": ("parent", "payments"),
        "line_item": ("pricing", "parent"),
        "subscription_item": ("current_period_start", "current_period_end"),
    },
}
OTHER = {Shape.OLD: Shape.NEW, Shape.NEW: Shape.OLD}

# What is shown only to those who ask for it with `expand`.
EXPANDED = {"invoice": ("payments",)}

# What accounts of the old shape are not told.
NEW_TYPES = ("invoice_payment.paid",)


def shown(value, shape, expand=()):
    """An object of the stand-in as this shape has it, with all that is in it."""
    if isinstance(value, list):
        return [shown(item, shape) for item in value]
    if not isinstance(value, dict):
        return value
    # The object within an event stands under the same word as the name of an object.
    name = value["object"] if isinstance(value.get("object"), str) else ""
    left_out = {*ONLY[OTHER[shape]].get(name, ()), *(key for key in EXPANDED.get(name, ()) if key not in expand)}
    return {key: shown(item, shape) for key, item in value.items() if key not in left_out and not key.startswith("_")}


def event_shown(event, shape):
    """An event as an account of this shape gets it; of a type that it is not told, as the new shape has it."""
    if event["type"] in NEW_TYPES:
        shape = Shape.NEW
    return deepcopy({**shown(event, shape), "api_version": shape.value})
