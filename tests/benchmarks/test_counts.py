"""Standard steps against the accepted counts of compilations, FLOPs, collectives and temporary bytes."""

import json

import jax
import pytest

from benchmarks import counts


@pytest.mark.slow
def test_no_standard_step_has_grown(tmp_path):
    accepted = json.loads(counts.ACCEPTED.read_text())
    if jax.__version__ not in accepted:
        pytest.skip(f"no accepted counts for JAX {jax.__version__}: python benchmarks/counts.py --write")
    now = {name: counts.count(config) for name, config in counts.standard_steps(str(tmp_path)).items()}
    assert now.keys() == accepted[jax.__version__].keys()
    grown = counts.growth(now, accepted[jax.__version__])
    assert not grown, "\n".join(grown)


def test_growth_is_named():
    accepted = {"a step": {"matmul_flops": 100.0, "collectives": 4}}
    assert counts.growth({"a step": {"matmul_flops": 101.0, "collectives": 3}}, accepted) == []
    assert counts.growth({"a step": {"matmul_flops": 103.0, "collectives": 5}}, accepted) == [
        "a step: matmul_flops 100.0 -> 103.0",
        "a step: collectives 4 -> 5",
    ]
    assert counts.growth({"another": {"collectives": 1}}, accepted) == ["another: collectives None -> 1"]
