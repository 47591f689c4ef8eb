"""Grants to thousands of accounts: what goes in, what comes out, and what becomes of a stream that breaks."""

import asyncio
import threading
import time
from itertools import count, islice

import grpc
import pytest
import scrip
from scrip import calls
from scrip.v1 import account_service_pb2 as account
from scrip.v1 import credit_service_pb2 as credit
from scrip.v1 import errors_pb2 as errors

from tests.client.scripted import UNAVAILABLE, error

CLOSED = errors.Error(code=9, reason="ACCOUNT_CLOSED", message="It is closed.", metadata={"account_id": "c-1"})
AWAY = errors.Error(code=14, reason="DATABASE_UNAVAILABLE", message="The database did not confirm this.")
NOT_ALLOWED = error(grpc.StatusCode.PERMISSION_DENIED, "", "You may not.")


def grants(number):
    return [calls.grant(f"c-{n}", 1, "promo", request_id=f"spring/c-{n}") for n in range(number)]


class Books:
    """A server that keeps the promise: a request_id is written once, and then answered alike."""

    def __init__(self) -> None:
        self.written: set[str] = set()

    def granted(self, request: account.BulkGrantRequest) -> account.BulkGrantResponse:
        replayed = request.grant.request_id in self.written
        self.written.add(request.grant.request_id)
        return account.BulkGrantResponse(
            grant=credit.GrantResponse(entry_id=f"en_{request.grant.account_id}", replayed=replayed)
        )

    def all(self, requests):
        for request in requests:
            yield self.granted(request)

    def breaking_after(self, answered, done=0, end=UNAVAILABLE):
        """Answer some, do some more without an answer, and break.

        grpc.aio may lose the error if it is still sending; where a test looks at it, all is taken before.
        """

        def some(requests):
            for request in islice(requests, answered):
                yield self.granted(request)
            for request in islice(requests, done):
                self.granted(request)
            time.sleep(0.05)
            yield end

        return some


@pytest.fixture
def books():
    return Books()


def test_grants_are_answered_in_order_through_one_stream(way, script, target, books):
    script.answer("BulkGrant", books.all)

    outcomes = way.walk(target, lambda client: client.bulk_grant(grants(1200)))

    assert [outcome.entry_id for outcome in outcomes] == [f"en_c-{n}" for n in range(1200)]
    assert script.streams == 1
    assert script.requests("BulkGrant") == [account.BulkGrantRequest(grant=call.request) for call in grants(1200)]


def test_a_grant_that_is_refused_is_told_in_its_place_and_the_others_go_on(way, script, target, books):
    def second_is_closed(requests):
        for number, request in enumerate(requests):
            yield account.BulkGrantResponse(error=CLOSED) if number == 1 else books.granted(request)

    script.answer("BulkGrant", second_is_closed)

    first, refused, third = way.walk(target, lambda client: client.bulk_grant(grants(3)))

    assert (first.entry_id, third.entry_id) == ("en_c-0", "en_c-2")
    assert type(refused) is scrip.AccountClosed
    assert (refused.account_id, refused.request_id) == ("c-1", "spring/c-1")


def test_no_grants_are_no_call(way, script, target):
    assert way.walk(target, lambda client: client.bulk_grant([])) == []
    assert script.streams == 0


def test_a_stream_that_breaks_is_taken_up_again_and_nothing_is_done_twice(way, script, target, books):
    script.answer("BulkGrant", books.breaking_after(300, done=50), books.breaking_after(300), books.all)

    outcomes = way.walk(target, lambda client: client.bulk_grant(grants(1000)))

    assert [outcome.entry_id for outcome in outcomes] == [f"en_c-{n}" for n in range(1000)]
    assert [number for number, outcome in enumerate(outcomes) if outcome.replayed] == list(range(300, 350))
    assert len(books.written) == 1000
    assert script.streams == 3


def test_an_outcome_that_decides_nothing_is_asked_for_again(way, script, target, books):
    def away_after_two(requests):
        yield from books.all(islice(requests, 2))
        for _ in requests:
            yield account.BulkGrantResponse(error=AWAY)

    script.answer("BulkGrant", away_after_two, books.all)

    outcomes = way.walk(target, lambda client: client.bulk_grant(grants(5)))

    assert [outcome.entry_id for outcome in outcomes] == [f"en_c-{n}" for n in range(5)]
    assert script.streams == 2


def test_a_stream_that_the_server_ends_early_is_taken_up_again(way, script, target, books):
    script.answer("BulkGrant", lambda requests: books.all(islice(requests, 2)), books.all)

    outcomes = way.walk(target, lambda client: client.bulk_grant(grants(5)))

    assert len(outcomes) == len(books.written) == 5


def test_a_server_that_stays_away_is_tried_five_times_and_then_it_is_said_where_to_resume(way, script, target, books):
    script.answer("BulkGrant", books.breaking_after(2), *[books.breaking_after(0, done=3)] * 9)

    with pytest.raises(scrip.Unavailable) as caught:
        way.walk(target, lambda client: client.bulk_grant(grants(5)))

    assert script.streams == 1 + 4
    assert caught.value.request_id == "spring/c-2"
    assert caught.value.reason == scrip.ErrorReason.ERROR_REASON_DATABASE_UNAVAILABLE


def test_what_was_broken_off_is_resumed_by_doing_all_again(way, script, target, books):
    script.answer("BulkGrant", books.breaking_after(2, done=1), *[books.breaking_after(0)] * 4, books.all)
    with pytest.raises(scrip.Unavailable):
        way.walk(target, lambda client: client.bulk_grant(grants(5)))

    outcomes = way.walk(target, lambda client: client.bulk_grant(grants(5)))

    assert [outcome.replayed for outcome in outcomes] == [True, True, True, False, False]
    assert len(books.written) == 5


def test_a_stream_that_is_refused_as_a_whole_is_not_tried_again(way, script, target, books):
    script.answer(
        "BulkGrant", books.breaking_after(2, end=error(grpc.StatusCode.PERMISSION_DENIED, "", "You may not."))
    )

    with pytest.raises(scrip.PermissionDenied, match=r"You may not\."):
        way.walk(target, lambda client: client.bulk_grant(grants(5)))

    assert script.streams == 1


def test_grants_are_taken_as_they_are_needed_at_most_five_hundred_ahead(script, target, books):
    taken = count()
    made = (calls.grant(f"c-{next(taken)}", 1, "promo") for _ in range(10_000))
    script.answer("BulkGrant", books.all)

    with scrip.Client(target) as client:
        outcomes = client.bulk_grant(made)
        for _ in range(10):
            next(outcomes)
        outcomes.close()

    assert next(taken) == 509


def test_the_callers_iterator_runs_in_the_callers_thread(script, target, books):
    ran_in = set()

    def made():
        for call in grants(3):
            ran_in.add(threading.current_thread())
            yield call

    script.answer("BulkGrant", books.all)

    with scrip.Client(target) as client:
        assert len(list(client.bulk_grant(made()))) == 3

    assert ran_in == {threading.current_thread()}


def test_what_the_callers_iterator_raises_is_raised(way, script, target, books):
    def made():
        yield from grants(2)
        raise KeyError("c-2")

    script.answer("BulkGrant", books.all)

    with pytest.raises(KeyError, match="c-2"):
        way.walk(target, lambda client: client.bulk_grant(made()))


def test_what_is_no_grant_is_refused(way, target):
    with pytest.raises(scrip.InvalidField, match=r"grants must be made by scrip\.calls\.grant; one is Release"):
        way.walk(target, lambda client: client.bulk_grant([calls.release("hd_1")]))
    with pytest.raises(scrip.InvalidField, match="grants must be a list; it is 7"):
        way.walk(target, lambda client: client.bulk_grant(7))


def test_an_async_client_takes_an_async_iterator_and_a_blocking_one_does_not(script, target, books):
    async def made():
        for call in grants(1200):
            await asyncio.sleep(0)
            yield call

    async def main():
        async with scrip.AsyncClient(target) as client:
            return [outcome async for outcome in client.bulk_grant(made())]

    script.answer("BulkGrant", books.all)

    assert len(asyncio.run(main())) == 1200
    with scrip.Client(target) as client, pytest.raises(scrip.InvalidField, match="must not be an async iterable"):
        next(client.bulk_grant(made()))


def test_the_deadline_is_for_all_grants_together(way, script, target, books):
    def never(requests):
        yield books.granted(next(requests))
        time.sleep(1)

    script.answer("BulkGrant", never)

    with pytest.raises(scrip.DeadlineExceeded) as caught:
        way.walk(target, lambda client: client.bulk_grant(grants(2), deadline_s=0.5))

    assert caught.value.request_id == "spring/c-1"
    assert "repeat it with request_id spring/c-1" in str(caught.value)


def test_grants_have_an_hour_unless_it_is_said_otherwise(way, script, target, books):
    script.answer("BulkGrant", books.all, books.all)

    way.walk(target, lambda client: client.bulk_grant(grants(1)))
    way.walk(target, lambda client: client.bulk_grant(grants(1), deadline_s=None))

    first, second = [asked.seconds_left for asked in script.asked]
    assert 3500 < first < 3700
    assert 3 < second < 5.5


def test_a_client_that_is_closed_while_it_grants_says_so(script, target, books):
    script.answer("BulkGrant", books.all, books.all)

    async def main():
        client = scrip.AsyncClient(target)
        outcomes = client.bulk_grant(grants(1000))
        await anext(outcomes)
        await client.close()
        async for _ in outcomes:
            pass

    client = scrip.Client(target)
    outcomes = client.bulk_grant(grants(1000))
    next(outcomes)
    client.close()

    with pytest.raises(scrip.ScripError, match="The client was closed"):
        list(outcomes)
    with pytest.raises(scrip.ScripError, match="The client was closed"):
        asyncio.run(main())


def test_a_preview_of_a_grant_can_be_streamed(way, script, target, books):
    script.answer("BulkGrant", books.all)

    way.walk(target, lambda client: client.bulk_grant([calls.grant("acme", 1, "promo", preview=True)]))

    assert script.requests("BulkGrant")[0].grant.preview
