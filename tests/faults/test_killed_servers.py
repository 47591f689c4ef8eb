"""kill -9 under load: what was acknowledged is there once, what was not can be asked again, and the books are right."""

import asyncio
import random

import pytest

from tests.faults.customers import customers
from tests.faults.load import Load
from tests.faults.processes import ScripProcess
from tests.faults.told import assert_written_once

CALLERS = 64


def kill_again_and_again(url, directory, kills):
    chance = random.Random(kills)
    done_unheard = 0
    with ScripProcess(url, directory) as server:
        load = Load([server.target], customers(8), credits_each=1_000)
        asyncio.run(load.open_accounts())
        for _ in range(kills):
            asyncio.run(load.run(CALLERS, chance.randint(100, 600), server.kill))
            server.start()

            assert len(load.unanswered) == CALLERS
            assert_written_once(url, load.answered, load.unanswered)
            done_unheard += asyncio.run(load.ask_again())
            assert_written_once(url, load.answered, ())
    return done_unheard


def test_a_server_killed_under_load_keeps_its_word(database_url, tmp_path):
    kill_again_and_again(database_url, tmp_path, kills=3)


@pytest.mark.soak
def test_a_server_killed_forty_times_keeps_its_word_and_some_answers_were_lost_after_the_commit(database_url, tmp_path):
    done_unheard = kill_again_and_again(database_url, tmp_path, kills=40)

    # Else the test would not have hit the moment that matters.
    assert done_unheard > 0


def test_a_server_told_to_stop_under_load_answers_what_it_has_written_and_ends_well(database_url, tmp_path):
    with ScripProcess(database_url, tmp_path) as server:
        load = Load([server.target], customers(8), credits_each=1_000)
        asyncio.run(load.open_accounts())

        asyncio.run(load.run(CALLERS, 300, server.terminate))

        assert server.wait() == 0, server.log
        assert len(load.unanswered) == CALLERS
        assert_written_once(database_url, load.answered, ())
        assert "stopped" in server.log
