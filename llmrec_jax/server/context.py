"""What the operations of an app share."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from llmrec_jax.server.batching import Batcher
from llmrec_jax.server.bundles import Bundles
from llmrec_jax.server.limits import Limits
from llmrec_jax.server.metrics import Metrics
from llmrec_jax.server.recommending import Job, compute
from llmrec_jax.server.responses import Shelf

WORKERS = 2  # threads for everything but recommendations, which have one of their own


class Context:
    """Bundles, threads, limits and metrics of an app."""

    def __init__(self, bundles: Bundles, limits: Limits):
        self.bundles, self.limits = bundles, limits
        self.metrics = Metrics(bundles.num_items)
        self.is_ready = False
        self.workers = ThreadPoolExecutor(WORKERS, "llmrec-worker")
        self._batches = ThreadPoolExecutor(1, "llmrec-batch")
        run: Callable[[Sequence[Job]], Sequence[Shelf | Exception]] = compute
        self.batcher = Batcher(run, limits.batch, self._batches, self.metrics.batch_size.observe)

    def close(self) -> None:
        """Wait for the threads."""
        self.is_ready = False
        self.workers.shutdown()
        self._batches.shutdown()
