"""Requests that arrive while a batch is computed form the next one; one that fails does not take others along."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmrec_jax.server.batching import Batcher


class Doubling:
    """Doubles numbers, and remembers the batches. Waits for `may_go` before each."""

    def __init__(self):
        self.batches, self.may_go = [], threading.Event()

    def __call__(self, jobs):
        assert self.may_go.wait(10)
        self.batches.append(list(jobs))
        if 13 in jobs:
            raise ZeroDivisionError
        return [2 * job if job >= 0 else ValueError(job) for job in jobs]


def run(jobs, most=4, before=None):
    """The results of jobs that are submitted while the first is computed; and the batches."""
    compute = Doubling()

    async def main():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(compute, most, executor)
            first = asyncio.create_task(batcher.submit(0))
            await asyncio.sleep(0.01)
            tasks = [asyncio.create_task(batcher.submit(job)) for job in jobs]
            await asyncio.sleep(0.01)
            if before is not None:
                before(tasks)
            compute.may_go.set()
            return await asyncio.gather(first, *tasks, return_exceptions=True)

    return asyncio.run(main()), compute.batches


def test_waiting_jobs_are_computed_together():
    results, batches = run([1, 2, 3, 4, 5])
    assert results == [0, 2, 4, 6, 8, 10]
    assert batches == [[0], [1, 2, 3, 4], [5]]


def test_an_exception_belongs_to_one_job():
    results, _ = run([1, -1, 2])
    assert [results[1], str(results[2]), results[3]] == [2, "-1", 4]


def test_a_batch_that_fails_fails_its_jobs_and_no_later_ones():
    results, _ = run([13, 1, 2], most=2)
    assert [type(result) for result in results] == [int, ZeroDivisionError, ZeroDivisionError, int]


def test_a_cancelled_job_is_not_computed():
    results, batches = run([1, 2], before=lambda tasks: tasks[0].cancel())
    assert isinstance(results[1], asyncio.CancelledError)
    assert batches == [[0], [2]]


def test_the_sizes_of_batches_are_observed():
    sizes = []

    async def main():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(lambda jobs: jobs, 8, executor, sizes.append)
            return await asyncio.gather(*(batcher.submit(n) for n in range(3)))

    assert asyncio.run(main()) == [0, 1, 2]
    assert sizes == [3]


def test_a_wrong_number_of_results_is_an_error():
    async def main():
        with ThreadPoolExecutor(1) as executor:
            await Batcher(lambda jobs: [], 8, executor).submit(1)

    with pytest.raises(AssertionError):
        asyncio.run(main())
