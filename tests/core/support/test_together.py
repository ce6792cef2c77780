from functools import partial

import anyio
import pytest

from anypo import together


def test_results_come_in_the_order_of_the_jobs_whichever_ends_first():
    async def run():
        second_is_done = anyio.Event()

        async def first():
            await second_is_done.wait()
            return 1

        async def second():
            second_is_done.set()
            return 2

        return await together([first, second])

    assert anyio.run(run) == [1, 2]


def test_no_more_run_at_a_time_than_are_allowed():
    running, most = [], []

    async def job(number):
        running.append(number)
        most.append(len(running))
        await anyio.lowlevel.checkpoint()
        running.remove(number)

    anyio.run(together, [partial(job, number) for number in range(7)], 3)
    assert max(most) == 3


def test_the_first_error_ends_the_others_and_is_raised_as_it_is():
    ended = []

    async def fail():
        raise ValueError("no") from KeyError("why")

    async def wait():
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(True)

    with pytest.raises(ValueError, match="no") as caught:
        anyio.run(together, [wait, fail])
    assert isinstance(caught.value.__cause__, KeyError)
    assert ended
