"""`map_tiles` maps all rows in order for any batch size and number of devices."""

import numpy as np
import pytest

from llmrec_jax.config import MeshConfig
from llmrec_jax.evaluate.tiles import TILE, map_tiles
from llmrec_jax.parallel import make_mesh


@pytest.mark.parametrize("num_devices", [1, 8])
@pytest.mark.parametrize("num_rows", [0, 3 * TILE + 5])
def test_every_row_is_mapped_once_and_in_order(num_devices, num_rows):
    rows_ND = np.arange(3 * num_rows, dtype=np.float32).reshape(num_rows, 3)
    got = map_tiles(_double, make_mesh(MeshConfig(data=num_devices)), (rows_ND,), (), 2 * TILE)
    np.testing.assert_array_equal(got, 2 * rows_ND)
    assert got.dtype == np.float32


def _double(_, rows_RD):
    return 2 * rows_RD
