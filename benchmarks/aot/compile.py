"""One training step, compiled for one TPU topology on a CPU: what a chip must hold, compute and send.

The step is traced on abstract arrays, so neither a TPU nor data nor a checkpoint is needed. An encoder has the sizes of
the configuration and the vocabulary of the published model of its kind. A configuration whose step would be another is
refused.
"""

import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from benchmarks.aot import program
from llmrec_jax.config import Config
from llmrec_jax.losses import objective
from llmrec_jax.losses.term import heads
from llmrec_jax.models.architectures import ENCODERS
from llmrec_jax.models.forward import ForwardSpec
from llmrec_jax.models.rec_model import Dimensions
from llmrec_jax.parallel import AXES, Jit
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.experiment import Experiment
from llmrec_jax.train.step import train_step
from llmrec_jax.types import Batch, Catalog, Items, Predictions

LAYOUTS = {"dp": (1, 1), "fsdp": (8, 1), "mixed": (4, 2)}  # fsdp, tensor; data takes the devices that are left

PUBLISHED = {"openai-community/gpt2": "gpt2", "google-bert/bert-base-uncased": "bert"}  # as their kinds' defaults are


class OutOfMemory(Exception):
    """The compiler refuses the step: it needs more memory than the chip has."""


def with_layout(config: Config, fsdp: int, tensor: int) -> Config:
    """The configuration on another mesh."""
    return dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, data=-1, fsdp=fsdp, tensor=tensor))


def compile_for(config: Config, topology: str, texts: int, num_items: int) -> dict[str, Any]:
    """Compile the step for `topology` (such as "v5e:16x16") and read what the compiler says of it.

    Args:
      config: the run; of its data only the sizes count.
      topology: a name that libtpu knows.
      texts: distinct items that a step encodes, each `data.max_tokens` long.
      num_items: items of the catalogue, which lies on every chip.

    Raises:
      OutOfMemory: the step does not fit.
      ValueError: the mesh does not divide the devices; or the step would be another (see `check`).
    """
    layout = _layout(config, topology)
    experiment = abstract_experiment(config, num_items)
    spec, state = experiment.spec, jax.eval_shape(experiment.init_state)
    step: Any = layout.compile(functools.partial(train_step, spec=spec), state)

    start = time.perf_counter()
    traced = step.trace(state, abstract_batch(config, texts), experiment.catalog)
    try:
        compiled = traced.lower(lowering_platforms=("tpu",)).compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise OutOfMemory(str(error).split("\n")[0]) from error
        raise
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    arguments = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    operations = program.operations(compiled.as_text())
    collectives = program.collectives(operations)
    chips = layout.mesh.size
    return {
        "config": config.encoder.kind,
        "topology": topology,
        "chips": chips,
        "mesh": " x ".join(str(size) for size in layout.mesh.devices.shape),
        "hbm_bytes_per_chip": int(arguments + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes),
        "state_and_inputs_bytes_per_chip": int(arguments),
        "temporary_bytes_per_chip": int(memory.temp_size_in_bytes),
        "flops_per_chip": program.matmul_flops(traced.jaxpr.jaxpr) / chips,
        "memory_traffic_bytes_per_chip": program.memory_bytes(operations),
        "ici_traffic_bytes_per_chip": program.ici_bytes(collectives),
        "compile_seconds": seconds,
        "texts_per_step": texts,
        "tokens_per_step": texts * config.data.max_tokens,
        "collectives": collectives,
    }


def _layout(config: Config, topology: str) -> Jit:
    devices = np.array(topologies.get_topology_desc(topology, platform="tpu").devices)
    fsdp, tensor = config.mesh.fsdp, config.mesh.tensor
    data = config.mesh.data if config.mesh.data > 0 else devices.size // (fsdp * tensor)
    if data * fsdp * tensor != devices.size:
        raise ValueError(f"{topology} has {devices.size} chips: not data x fsdp x tensor = {data} x {fsdp} x {tensor}")
    return Jit(Mesh(devices.reshape(data, fsdp, tensor), AXES, axis_types=(AxisType.Auto,) * 3))


def check(config: Config) -> None:
    """Raises ValueError where the step of the configuration is not the one that would be compiled."""
    encoder, published = config.encoder, ENCODERS[config.encoder.kind].config()
    problems = []
    if config.mesh.mode != "jit":
        problems.append(f"mesh.mode={config.mesh.mode}")
    if "negatives" in objective.ranking_of(config.loss).needs:
        problems.append(f"loss.ranking={config.loss.ranking} (no sampled negatives in the batch)")
    if config.tasks.rating != "none":
        problems.append(f"tasks.rating={config.tasks.rating} (no ratings in the batch)")
    if config.model.item_features == "id":
        problems.append("model.item_features=id (no encoder)")
    if encoder.mode == "frozen":
        problems.append("encoder.mode=frozen (no encoder in the step)")
    if encoder.frozen_layers:
        problems.append(f"encoder.frozen_layers={encoder.frozen_layers}")
    if encoder.pretrained is not None and PUBLISHED.get(encoder.pretrained) != encoder.kind:
        problems.append(
            f"encoder.pretrained={encoder.pretrained} with encoder.kind={encoder.kind} (sizes unknown here)"
        )
    elif encoder.pretrained is not None:
        problems += [
            f"encoder.{name}={getattr(encoder, name)} ({encoder.pretrained} has {getattr(published, name)})"
            for name in ("num_layers", "width", "num_heads")
            if getattr(encoder, name) != getattr(published, name)
        ]
        if config.data.max_tokens > published.max_positions:
            problems.append(f"data.max_tokens={config.data.max_tokens} ({published.max_positions} positions)")
    if problems:
        raise ValueError(
            f"cannot compile {', '.join(problems)}: only whole encoders inside a step (encoder.mode full or lora, "
            f"encoder.frozen_layers=0) under mesh.mode=jit, either {' or '.join(PUBLISHED)} with sizes as published or "
            "encoder.pretrained=None with any encoder.num_layers, encoder.width and encoder.num_heads"
        )


def _encoder_config(config: Config) -> Any:
    from_scratch: dict[str, Any] = {"dropout": config.encoder.dropout, "max_positions": config.data.max_tokens}
    return ENCODERS[config.encoder.kind].config(
        width=config.encoder.width,
        num_layers=config.encoder.num_layers,
        num_heads=config.encoder.num_heads,
        remat=config.encoder.remat,
        attention=config.encoder.attention,
        dtype=jnp.dtype(config.model.compute_dtype),
        **({} if config.encoder.pretrained else from_scratch),
    )


def abstract_experiment(config: Config, num_items: int) -> Experiment:
    """The run that the configuration describes over `num_items` items that nobody has, ready to be traced.

    Raises ValueError where `check` does.
    """
    check(config)
    encoder_config = _encoder_config(config)
    dims = Dimensions(num_items, encoder_config.width, config.data.max_history, config.encoder.pooling)
    domains = len(config.data.sources) + 1
    starts = tuple(num_items * domain // domains for domain in range(domains + 1))
    task = ForwardSpec(
        lengths=(config.data.max_tokens,),
        starts=starts,
        whole_catalogue=config.loss.ranking == "softmax",
        chunk_size=config.encoder.chunk_size,
    )
    tokens = (num_items, config.data.max_tokens)
    catalog = Catalog(
        tokens_IL=_abstract(tokens, jnp.int32),
        token_mask_IL=_abstract(tokens, jnp.bool_),
        features_IF=None,
        domain_I=_abstract((num_items,), jnp.int32),
        log_q_I=_abstract((num_items,), jnp.float32),
        trained_I=_abstract((num_items,), jnp.bool_),
        log_prior_I=_abstract((num_items,), jnp.float32) if config.loss.logit_adjustment else None,
        weight_I=_abstract((num_items,), jnp.float32) if config.loss.propensity else None,
    )
    terms = objective.build(config.loss, config.adapt, len(task.starts) - 1)
    graphdef = nnx.graphdef(
        nnx.eval_shape(lambda: experiment_lib.make_model(config, dims, encoder_config, heads(terms), nnx.Rngs(0)))
    )
    nothing: Any = None
    return Experiment(
        config=config,
        data=nothing,
        corpus=nothing,
        catalog=catalog,
        dims=dims,
        encoder_config=encoder_config,
        graphdef=graphdef,
        spec=experiment_lib.make_step_spec(config, graphdef, task, terms),
    )


def abstract_batch(config: Config, texts: int) -> Batch:
    """A batch of the configuration's rows with `texts` distinct items; every step of a history is a prediction."""
    rows, steps, domains = config.train.batch_size, config.data.max_history, len(config.data.sources) + 1
    per_domain = rows * steps // domains // rows * rows
    prediction = Predictions(
        _abstract((per_domain,), jnp.int32), _abstract((per_domain,), jnp.int32), _abstract((per_domain,), jnp.bool_)
    )
    return Batch(
        items=(Items(_abstract((texts,), jnp.int32), _abstract((texts,), jnp.bool_)),),
        history_RS=_abstract((rows, steps), jnp.int32),
        segment_RS=_abstract((rows, steps), jnp.int32),
        last_B=_abstract((rows,), jnp.int32),
        domain_B=_abstract((rows,), jnp.int32),
        predictions=(prediction,) * domains,
    )


def _abstract(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)
