"""What the stand-in's endpoints do: one function each, found by method and path."""

import re

from tests.stripe_shapes import event_shown, shown
from tests.stripe_world import StripeSaysNoError

PAGE_SIZE, PAGE_SIZE_MAX = 10, 100
EVENT_TYPES_MAX = 20
METADATA_MAX, METADATA_KEY_MAX, METADATA_VALUE_MAX = 50, 40, 500

SESSION_PARAMS = {
    "cancel_url",
    "client_reference_id",
    "customer",
    "customer_creation",
    "customer_email",
    "expand",
    "expires_at",
    "line_items",
    "metadata",
    "mode",
    "payment_intent_data",
    "subscription_data",
    "success_url",
}
CHARGE_PARAMS = {
    "amount",
    "confirm",
    "currency",
    "customer",
    "description",
    "expand",
    "metadata",
    "off_session",
    "payment_method",
}
SECTIONS = {
    "checkout/sessions": "checkout.session",
    "customers": "customer",
    "payment_methods": "payment_method",
    "prices": "price",
    "payment_intents": "payment_intent",
    "charges": "charge",
    "refunds": "refund",
    "disputes": "dispute",
    "invoices": "invoice",
    "invoice_payments": "invoice_payment",
    "subscriptions": "subscription",
}


def answer(world, shape, call):
    """The body of the answer to a request, or StripeSaysNoError."""
    for method, pattern, endpoint in ENDPOINTS:
        if method == call.method and (match := re.fullmatch(pattern, call.path)):
            return endpoint(world, shape, call.params, *match.groups())
    raise StripeSaysNoError(f"Unrecognized request URL ({call.method}: {call.path}).", status=404)


def _only(params, known):
    for name in params:
        if name not in known:
            raise StripeSaysNoError(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)


def _required(params, *names):
    for name in names:
        if not params.get(name):
            raise StripeSaysNoError(f"Missing required param: {name}.", code="parameter_missing", param=name)


def _metadata(params):
    metadata = params.get("metadata", {})
    fits = len(metadata) <= METADATA_MAX and all(
        len(key) <= METADATA_KEY_MAX and len(value) <= METADATA_VALUE_MAX for key, value in metadata.items()
    )
    if not fits:
        raise StripeSaysNoError("Metadata has too many keys, or too long ones or values.", param="metadata")


def _whole(params, name, least=0):
    try:
        number = int(params[name])
    except ValueError:
        number = least - 1
    if number < least:
        raise StripeSaysNoError(f"Invalid integer: {params[name]}", code="parameter_invalid_integer", param=name)
    return number


def create_session(world, shape, params):
    _only(params, SESSION_PARAMS)
    _required(params, "mode", "line_items", "success_url")
    mode = params["mode"]
    for section, needed in (("payment_intent_data", "payment"), ("subscription_data", "subscription")):
        if section in params and mode != needed:
            raise StripeSaysNoError(f"You can not pass `{section}` in `{mode}` mode.", param=section)
        _metadata(params.get(section, {}))
    if "customer_creation" in params and (mode != "payment" or "customer" in params):
        raise StripeSaysNoError("`customer_creation` can only be used in `payment` mode without `customer`.")
    _metadata(params)
    if "customer" in params:
        world.get(params["customer"], "customer", status=400)
    amount, currency = 0, None
    for number, item in enumerate(params["line_items"]):
        unit_amount, item_currency, recurring = _priced(world, item, f"line_items[{number}]")
        if bool(recurring) != (mode == "subscription"):
            raise StripeSaysNoError(f"You must provide prices that fit `{mode}` mode.", param="line_items")
        amount += unit_amount * _whole(item, "quantity", 1)
        currency = currency or item_currency
    return shown(world.session(params, amount, currency), shape)


def _priced(world, item, param):
    """(unit amount, currency, recurring) of a line item."""
    if "price" in item:
        found = world.get(item["price"], f"{param}[price]", status=400)
        return found["unit_amount"], found["currency"], found["recurring"]
    _required(item, "price_data")
    price_data = item["price_data"]
    _required(price_data, "currency", "unit_amount", "product_data")
    _required(price_data["product_data"], "name")
    return _whole(price_data, "unit_amount"), price_data["currency"], price_data.get("recurring")


def create_charge(world, shape, params):
    _only(params, CHARGE_PARAMS)
    _required(params, "amount", "currency", "customer", "payment_method")
    if params.get("confirm") != "true" or params.get("off_session") != "true":
        raise StripeSaysNoError("The stand-in charges at once and without the customer only.", param="off_session")
    _metadata(params)
    world.get(params["customer"], "customer", status=400)
    return shown(world.charge(params, _whole(params, "amount", 1), params["currency"]), shape)


def retrieve(world, shape, params, section, object_id):
    found = world.get(object_id)
    if found["object"] != SECTIONS[section]:
        raise StripeSaysNoError(f"No such {SECTIONS[section]}: '{object_id}'", status=404, code="resource_missing")
    return shown(found, shape, expand=params.get("expand", []))


def list_objects(world, shape, params, section):
    """Filtered by the fields that are asked for, as far as the objects have them."""
    filters = {name: value for name, value in params.items() if name not in {"limit", "starting_after", "expand"}}
    paid = filters.pop("payment", {})
    first = int(filters.pop("created", {}).get("gte", 0))
    found = [
        item
        for item in world.all(SECTIONS[section])
        if item.get("created", 0) >= first
        and all(item[name] == value for name, value in filters.items())
        and all(item["payment"].get(name) == value for name, value in paid.items())
    ]
    return _page(found, params, f"/v1/{section}", lambda item: shown(item, shape))


def list_lines(world, shape, params, invoice_id):
    found = world.get(invoice_id, "invoice")["lines"]["data"]
    return _page(found, params, f"/v1/invoices/{invoice_id}/lines", lambda line: shown(line, shape))


def retrieve_event(world, shape, params, event_id):
    for event in world.events:
        if event["id"] == event_id:
            return event_shown(event, shape)
    raise StripeSaysNoError(f"No such event: '{event_id}'", status=404, code="resource_missing", param="id")


def list_events(world, shape, params):
    created = params.get("created", {})
    first, last = int(created.get("gte", 0)), int(created.get("lte", 1 << 62))
    types = params.get("types")
    if types and len(types) > EVENT_TYPES_MAX:
        raise StripeSaysNoError(f"You may pass at most {EVENT_TYPES_MAX} types.", param="types")
    found = [
        event
        for event in reversed(world.events)
        if first <= event["created"] <= last and (not types or event["type"] in types)
    ]
    return _page(found, params, "/v1/events", lambda event: event_shown(event, shape))


def _page(found, params, url, show):
    """found: newest first."""
    size = min(_whole(params, "limit", 1), PAGE_SIZE_MAX) if "limit" in params else PAGE_SIZE
    ids = [item["id"] for item in found]
    start = 0
    if "starting_after" in params:
        if params["starting_after"] not in ids:
            raise StripeSaysNoError(f"No such object: '{params['starting_after']}'", code="resource_missing")
        start = ids.index(params["starting_after"]) + 1
    return {
        "object": "list",
        "data": [show(item) for item in found[start : start + size]],
        "has_more": start + size < len(found),
        "url": url,
    }


ENDPOINTS = (
    ("POST", "/v1/checkout/sessions", create_session),
    ("POST", "/v1/payment_intents", create_charge),
    ("GET", "/v1/invoices/([^/]+)/lines", list_lines),
    ("GET", "/v1/events", list_events),
    ("GET", "/v1/events/([^/]+)", retrieve_event),
    ("GET", f"/v1/({'|'.join(SECTIONS)})", list_objects),
    ("GET", f"/v1/({'|'.join(SECTIONS)})/([^/]+)", retrieve),
)
