"""Which changes travel together, and when."""

from scrip import calls
from scrip.gathering import FLIGHTS_MAX, PATIENCE_S, TOGETHER_MAX, Line, Traveller


class Waiting(Traveller):
    """A change whose caller waits on and keeps no outcome."""

    is_gone = False

    def settle(self, outcome: object) -> None: ...


def line(count: int) -> Line[Waiting]:
    made: Line[Waiting] = Line()
    for n in range(count):
        made.join(Waiting(calls.release(f"hd_{n}"), 0))
    return made


def boarded(waiting: Line[Waiting]) -> int:
    flight = waiting.board()
    return len(flight.aboard) if flight else 0


def test_who_finds_nothing_under_way_goes_at_once():
    assert [boarded(line(count)) for count in (0, 1, 7)] == [0, 1, 7]


def test_who_finds_something_under_way_waits_until_it_is_answered_or_there_are_many():
    waiting = line(1)
    flight = waiting.board()
    for n in range(TOGETHER_MAX - 1):
        waiting.join(Waiting(calls.release(f"hd_{n}"), 0))

    assert boarded(waiting) == 0
    waiting.join(Waiting(calls.release("hd_last"), 0))
    assert boarded(waiting) == TOGETHER_MAX
    waiting.join(Waiting(calls.release("hd_next"), 0))
    assert boarded(waiting) == 0
    waiting.arrive(flight)
    assert boarded(waiting) == 0


def test_only_so_many_are_under_way_and_only_so_much_in_each():
    waiting = line(10 * TOGETHER_MAX)

    assert [boarded(waiting) for _ in range(FLIGHTS_MAX + 1)] == [TOGETHER_MAX] * FLIGHTS_MAX + [0]
    assert TOGETHER_MAX <= 1000


def test_what_is_not_answered_for_long_is_not_waited_for():
    waiting = line(1)
    flight = waiting.board()
    waiting.join(Waiting(calls.release("hd_next"), 0))
    flight.began_at -= PATIENCE_S

    assert boarded(waiting) == 1
