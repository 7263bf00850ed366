"""What the TPU compiler says of a training step, without a TPU: the parts of `benchmarks/tpu_aot.py`."""
