"""The independent random streams of a step: each seed begins with the run's seed and one of these numbers.

NumPy pads short seeds with zeros, so `[seed, 2, step]` and `[seed, 2, step, 0]` are one stream: two uses need two
numbers. A change of a number gives other batches and increments `batch.BATCH_RULE`.
"""

ORDER, STEP, NEGATIVES, TEXTS, HELD_OUT_TEXTS, TRIPLES, MASKS, AUGMENT = range(8)
