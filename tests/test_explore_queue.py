"""The one worker before the models: one job at a time, stopped where nobody waits, alive after mistakes."""

import asyncio
import threading

import pytest
import torch

from raterhf.errors import UserError
from raterhf.explore.queue import MOST_WAITING, Queue


@pytest.fixture
def queue():
    made = Queue()
    yield made
    made.close()


async def never() -> bool:
    return False


async def all_of(job) -> list:
    return [event async for event in job.events(never)]


def test_a_job_tells_and_ends(queue):
    async def ask():
        return await all_of(queue.submit(lambda job: job.tell("half", 1) or "whole"))

    assert asyncio.run(ask()) == [("half", 1), ("done", "whole")]


def test_one_job_at_a_time_in_order(queue):
    at_work, most, order = [], [], []

    def work(name):
        def run(job):
            at_work.append(name)
            most.append(len(at_work))
            order.append(name)
            at_work.remove(name)
            return name

        return run

    async def ask():
        jobs = [queue.submit(work(i)) for i in range(6)]
        assert [job.ahead for job in jobs][0] == 0
        return [await all_of(job) for job in jobs]

    assert asyncio.run(ask()) == [[("done", i)] for i in range(6)]
    assert max(most) == 1 and order == list(range(6))


def test_a_job_that_nobody_waits_for_stops_at_its_next_check(queue):
    begun, steps = threading.Event(), []

    def endless(job):
        begun.set()
        while True:
            steps.append(1)
            job.check()

    async def leave():
        job = queue.submit(endless)
        await asyncio.to_thread(begun.wait, 10)

        async def gone() -> bool:
            return True

        assert [event async for event in job.events(gone)] == []
        # The worker is free again for whoever comes next.
        return await asyncio.wait_for(all_of(queue.submit(lambda job: "next")), 10)

    assert asyncio.run(leave()) == [("done", "next")] and steps


def test_a_pass_of_a_model_ends_within_when_its_page_has_gone(queue):
    entered = []

    class Layer(torch.nn.Module):
        def forward(self, x):
            entered.append(1)
            if len(entered) == 3:
                jobs[0].left.set()
            return x

    model, jobs, left_at = torch.nn.Sequential(*(Layer() for _ in range(10))), [], []

    async def leave():
        hold = threading.Event()
        jobs.append(queue.submit(lambda job: hold.wait(10) and model(torch.ones(1))))
        hold.set()
        # Whoever comes next runs the same model to its end.
        return await all_of(queue.submit(lambda job: (left_at.append(len(entered)), entered.clear(), float(model(torch.ones(1))))[2]))

    assert asyncio.run(leave()) == [("done", 1.0)] and left_at == [3] and len(entered) == 10
    model(torch.ones(1))  # and outside the queue nothing watches it


def test_a_job_that_waits_is_not_begun_when_its_page_has_gone(queue):
    hold, ran = threading.Event(), []

    async def leave():
        first = queue.submit(lambda job: hold.wait(10))
        second = queue.submit(lambda job: ran.append("second"))
        assert second.ahead == 1
        second.left.set()
        hold.set()
        await all_of(first)
        return await all_of(queue.submit(lambda job: list(ran)))

    assert asyncio.run(leave()) == [("done", [])]


def test_mistakes_are_sentences_and_the_worker_goes_on(queue, caplog):
    def wrong(job):
        raise UserError("no such rater; name another")

    def broken(job):
        raise ZeroDivisionError("a secret of the model")

    async def ask():
        return [await all_of(queue.submit(work)) for work in (wrong, broken, lambda job: 1)]

    told = asyncio.run(ask())
    assert told[0] == [("failed", "no such rater; name another")]
    assert told[1][0][0] == "failed" and "secret" not in told[1][0][1]
    assert told[2] == [("done", 1)]


def test_too_many_are_refused(queue):
    hold = threading.Event()

    async def ask():
        jobs = [queue.submit(lambda job: hold.wait(10)) for _ in range(MOST_WAITING + 1)]
        with pytest.raises(UserError, match=f"{MOST_WAITING + 1} requests wait for the model already"):
            queue.submit(lambda job: None)
        hold.set()
        for job in jobs:
            await all_of(job)
        return await all_of(queue.submit(lambda job: "free"))

    assert asyncio.run(ask()) == [("done", "free")]
