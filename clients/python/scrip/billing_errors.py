"""What calls raise that are about packages, orders and payments."""

from scrip.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from scrip.figures import MaySay, Said


class PackageNotFound(NotFound):
    """There is no such package, or it is not sold any more."""

    package = Said(str)


class PackageExists(AlreadyExists):
    """There is a package of this name with other terms. Change it with update_package."""

    package = Said(str)


class PlanNotFound(NotFound):
    """There is no such plan, or it is not sold any more."""

    plan = Said(str)


class OrderNotFound(NotFound):
    """No order has this id."""

    order_id = Said(str)


class OrderNotFulfillable(FailedPrecondition):
    """The order cannot be fulfilled by hand.

    state   how it stands, in the contract's words, such as "returned"
    """

    order_id = Said(str)
    state = Said(str)


class PaymentsNotConfigured(FailedPrecondition):
    """The server is not set up for payments, or for the purchase page.

    setting   the one it lacks
    """

    setting = Said(str)


class StripeUnavailable(Unavailable):
    """Stripe did not answer the server, or not as it should. Repeat it; with the error's `request_id`, if it has one.

    stripe_message   what was heard
    """

    stripe_message = Said(str)


class StripeRefused(FailedPrecondition):
    """Stripe refused the request. Correct the package, the plan or the key.

    stripe_message   why, in Stripe's words
    stripe_code      Stripe's name for it; empty if it gave none
    """

    stripe_message = Said(str)
    stripe_code = MaySay(str, "")


class EventNotFound(NotFound):
    """Neither Scrip nor Stripe has this event."""

    event_id = Said(str)


class NoPaymentMethod(FailedPrecondition):
    """The customer has no payment method that may be charged without being asked.

    Let the customer pay a checkout with `save_payment_method` first.
    """

    account_id = Said(str)


class ChangedMeanwhile(FailedPrecondition):
    """Someone else changed it meanwhile. Look at it, and try again.

    what   was changed, such as "package starter"
    """

    what = Said(str)
