"""The hash of a corpus: whatever makes a run another run changes it, and nothing else does."""

import dataclasses

from llmrec_jax.config import DataConfig
from llmrec_jax.data import corpus


def test_the_hash_tells_content_and_settings_apart(tmp_path):
    data = DataConfig(sources=(), target="demo:books", cache_dir=str(tmp_path))

    def hash_of(data=data, batch_size=16, seed=0, **options):
        return corpus.load_corpus(data, batch_size, seed, **options).hash

    ours = hash_of()
    assert hash_of(num_shards=16) == hash_of(dataclasses.replace(data, root="elsewhere")) == ours
    others = [
        hash_of(seed=1),
        hash_of(batch_size=8),
        hash_of(dataclasses.replace(data, max_history=7)),
        hash_of(dataclasses.replace(data, target="demo:films")),
    ]
    assert len({ours, *others}) == 5
