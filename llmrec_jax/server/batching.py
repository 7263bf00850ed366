"""Dynamic batching: requests that arrive while a batch is computed form the next one. No request waits for others."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Batcher(Generic[Job, Result]):
    """Computes jobs in batches, one batch at a time, outside the event loop. Used on one event loop only."""

    def __init__(
        self,
        compute: Callable[[Sequence[Job]], Sequence[Result | Exception]],
        most: int,
        executor: Executor,
        observe: Callable[[int], object] = lambda size: None,
    ):
        """
        Args:
          compute: one result or exception for each job; runs in `executor`.
          most: jobs in a batch.
          executor: runs the batches.
          observe: called with the size of each batch.
        """
        self._compute, self._most, self._executor, self._observe = compute, most, executor, observe
        self._waiting: deque[tuple[Job, asyncio.Future[Result]]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, job: Job) -> Result:
        """The result of a job, or its exception. A cancelled job that is not yet in a batch is not computed."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch: list[tuple[Job, asyncio.Future[Result]]] = []
                while self._waiting and len(batch) < self._most:
                    job, future = self._waiting.popleft()
                    if not future.done():
                        batch.append((job, future))
                if batch:
                    await self._run(batch)
        finally:
            self._worker = None

    async def _run(self, batch: Sequence[tuple[Job, asyncio.Future[Result]]]) -> None:
        self._observe(len(batch))
        jobs = [job for job, _ in batch]
        results: Sequence[Result | Exception]
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._executor, self._compute, jobs)
            assert len(results) == len(jobs)
        except Exception as error:
            results = [error] * len(jobs)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():  # cancelled meanwhile
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
