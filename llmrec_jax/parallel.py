"""The device mesh: how arrays are sharded over it, and how a training step runs on it.

Two layouts with the same methods run the same step. `Jit` (default) compiles one program over the whole mesh, and the
compiler inserts the communication. `Pmap` runs the step under `jax.pmap` with a replicated state, and the step calls
the collectives. The names of the mesh axes are used in this file only.
"""

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from llmrec_jax.config import MeshConfig
from llmrec_jax.errors import UserError
from llmrec_jax.types import Collectives, on_one_shard

# tensor is last: `models/splash.py` shards heads over the last axis, rows over others
AXES = ("data", "fsdp", "tensor")
ROWS = P(("data", "fsdp"))  # the batch is sharded over both; tensor-parallel devices hold the same rows
MIN_SHARDED_SIZE = 2**12  # smaller arrays are replicated

# The first rule whose pattern matches an array's path gives the dimension that tensor parallelism shards.
TENSOR_RULES = (
    (r"\['(query|key|value|up|gate)'\]\['(kernel|bias)'\]", -1),  # each device has some heads and hidden units,
    (r"\['(out|down)'\]\['kernel'\]", -2),  # and the matching rows of the next kernel; partial products are summed
)

State = Any
Step = Callable[..., tuple[State, dict[str, jax.Array]]]


def make_mesh(config: MeshConfig) -> Mesh:
    """A mesh of all devices, (data, fsdp, tensor). Raises ValueError if the sizes do not fit."""
    num_devices = jax.device_count()
    data = config.data if config.data > 0 else max(1, num_devices // (config.fsdp * config.tensor))
    shape = (data, config.fsdp, config.tensor)
    used = int(np.prod(shape))
    if used > num_devices or (used < num_devices and (config.data == -1 or jax.process_count() > 1)):
        raise UserError(f"mesh data x fsdp x tensor = {data} x {config.fsdp} x {config.tensor} = {used} devices, "
                         f"but this job has {num_devices}")  # fmt: skip
    if config.mode == "pmap" and used != data:
        raise UserError("mesh.mode=pmap replicates the state: mesh.fsdp and mesh.tensor must be 1")
    if config.mode == "pmap":  # which needs the devices of a process side by side; `jax.make_mesh` orders them by links
        by_process = sorted(jax.devices()[:used], key=lambda device: device.process_index)
        return Mesh(np.array(by_process).reshape(shape), AXES, axis_types=(AxisType.Auto,) * 3)
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * 3, devices=jax.devices()[:used])


def spec_of(path: str, shape: tuple[int, ...], mesh: Mesh, *, in_use: bool = False) -> P:
    """How one array of the state is sharded: by its tensor rule, and its largest divisible dimension over fsdp.

    With `in_use`, the sharding inside a step: by the tensor rule only.
    """
    axes: list[str | None] = [None] * len(shape)
    if np.prod(shape) < MIN_SHARDED_SIZE:
        return P()
    for pattern, dim in TENSOR_RULES:
        if mesh.shape["tensor"] > 1 and re.search(pattern, path) and shape[dim] % mesh.shape["tensor"] == 0:
            axes[dim] = "tensor"
            break
    free = [dim for dim in range(len(shape)) if axes[dim] is None and shape[dim] % mesh.shape["fsdp"] == 0]
    if mesh.shape["fsdp"] > 1 and free and not in_use:
        axes[max(free, key=lambda dim: shape[dim])] = "fsdp"
    return P(*axes)


def state_shardings(state: State, mesh: Mesh) -> State:
    """The sharding of every array of a state (arrays may be abstract). Moments are sharded like their parameters."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: NamedSharding(mesh, spec_of(jax.tree_util.keystr(path), x.shape, mesh)), state
    )


def to_host(tree: Any) -> Any:
    """Copy global arrays to the host memory of every process; all processes must call it."""
    return multihost_utils.process_allgather(tree, tiled=True)


def on_any_process(flag: bool) -> jax.Array:
    """Whether `flag` is true on any process of the job: a bool scalar, computed asynchronously on the devices.

    All processes must call it, in the same order relative to their other programs.
    """
    mesh = Mesh(np.array(jax.devices()), ("data",))
    flags_local = np.full(jax.local_device_count(), flag)
    flags = jax.make_array_from_process_local_data(NamedSharding(mesh, P("data")), flags_local, (mesh.size,))
    return jax.jit(jnp.any)(flags)


@dataclasses.dataclass(frozen=True)
class Jit:
    """One program over the whole mesh; arrays are global, sharded by the rules above (`spec_of`)."""

    mesh: Mesh

    @property
    def num_row_shards(self) -> int:
        """The number of shards of a batch's rows."""
        return self.mesh.shape["data"] * self.mesh.shape["fsdp"]

    def collectives(self) -> Collectives:
        """The step sees global arrays, so sums are already global and all_gather is a sharding constraint."""
        replicated, rows = NamedSharding(self.mesh, P()), NamedSharding(self.mesh, ROWS)
        return Collectives(
            all_gather=lambda x: jax.lax.with_sharding_constraint(x, replicated),
            psum=lambda tree: tree,
            pmax=lambda x: x,
            axis_index=lambda: jnp.int32(0),
            num_shards=self.mesh.size,
            local_shards=lambda x: jax.lax.with_sharding_constraint(x, rows),
            map_shards=self._map_shards,
            gather_params=self._gather_params,
        )

    def _map_shards(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Run `fn` on every device's shard; tensor-parallel devices, which hold the same rows, get different shards."""
        if self.mesh.size == 1:
            return on_one_shard(fn)
        rows = NamedSharding(self.mesh, ROWS)
        run = jax.shard_map(
            on_one_shard(fn), mesh=self.mesh, in_specs=(P(AXES), P()), out_specs=P(AXES), check_vma=False
        )
        # The computation of the shards is sharded by rows; without the constraint XLA would shard it over AXES too.
        return lambda sharded, replicated: run(jax.lax.with_sharding_constraint(sharded, rows), replicated)

    def _gather_params(self, params: State) -> State:
        """All_gather the fsdp shards; without the constraint XLA would gather the activations instead."""
        return jax.tree_util.tree_map_with_path(
            lambda path, x: jax.lax.with_sharding_constraint(
                x, NamedSharding(self.mesh, spec_of(jax.tree_util.keystr(path), x.shape, self.mesh, in_use=True))
            ),
            params,
        )

    def init(self, fn: Callable[[], State]) -> State:
        """Create a state on the devices; each computes only its shards."""
        return jax.jit(fn, out_shardings=state_shardings(jax.eval_shape(fn), self.mesh))()

    def put_batch(self, batch: Any) -> Any:
        """Shard a host batch over the devices; every process passes the same global batch."""
        sharding = NamedSharding(self.mesh, ROWS)
        return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, sharding, x.__getitem__), batch)

    def put_whole(self, tree: Any) -> Any:
        """Replicate every array over the devices."""
        return jax.device_put(tree, NamedSharding(self.mesh, P()))

    def compile(self, step: Step, state: State) -> Step:
        """Compile `step(state, batch, catalog, collectives)`; the state is donated."""
        layout = state_shardings(state, self.mesh)
        return jax.jit(
            functools.partial(step, collectives=self.collectives()),
            in_shardings=(layout, NamedSharding(self.mesh, ROWS), NamedSharding(self.mesh, P())),
            out_shardings=(layout, NamedSharding(self.mesh, P())),
            donate_argnums=0,
        )

    def to_global(self, state: State) -> State:
        """The state as global arrays, which checkpoints and evaluation read."""
        return state

    def from_global(self, state: State) -> State:
        """The inverse of `to_global`."""
        return state

    def metrics(self, metrics: dict[str, jax.Array]) -> dict[str, float]:
        """Fetch a step's metrics."""
        return {name: float(value) for name, value in jax.device_get(metrics).items()}


@dataclasses.dataclass(frozen=True)
class Pmap:
    """One program per device, the state replicated; arrays have a leading axis over this process's devices."""

    mesh: Mesh

    @property
    def num_row_shards(self) -> int:
        """The number of shards of a batch's rows."""
        return self.mesh.size

    @property
    def _devices(self) -> list[jax.Device]:
        return [device for device in self.mesh.devices.flat if device.process_index == jax.process_index()]

    def collectives(self) -> Collectives:
        """The step sees its device's shard; collectives run over all devices."""
        return Collectives(
            all_gather=lambda x: jax.lax.all_gather(x, "data", tiled=True),
            psum=lambda tree: jax.lax.psum(tree, "data"),
            pmax=lambda x: jax.lax.pmax(x, "data"),
            axis_index=lambda: jax.lax.axis_index("data"),
            num_shards=self.mesh.size,
            local_shards=lambda x: jax.lax.dynamic_index_in_dim(x, jax.lax.axis_index("data")),
            map_shards=on_one_shard,
        )

    def init(self, fn: Callable[[], State]) -> State:
        """Create a state and replicate it."""
        return self.from_global(jax.jit(fn)())

    def put_batch(self, batch: Any) -> Any:
        """Shard a host batch over all devices of the job; place the shards of this process's devices."""
        local = slice(jax.process_index() * len(self._devices), (jax.process_index() + 1) * len(self._devices))
        return jax.tree.map(lambda x: x.reshape(self.mesh.size, -1, *x.shape[1:])[local], batch)

    def put_whole(self, tree: Any) -> Any:
        """Replicate every array over the devices."""
        return self.from_global(tree)

    def compile(self, step: Step, state: State) -> Step:
        """Compile `step(state, batch, catalog, collectives)`; the state is donated."""
        step = functools.partial(step, collectives=self.collectives())
        return jax.pmap(step, axis_name="data", devices=list(self.mesh.devices.flat), donate_argnums=0)

    def to_global(self, state: State) -> State:
        """The state as global arrays, which checkpoints and evaluation read."""
        replicated = NamedSharding(self.mesh, P())
        return jax.tree.map(
            lambda x: jax.make_array_from_callback(x.shape[1:], replicated, np.asarray(x[0]).__getitem__), state
        )

    def from_global(self, state: State) -> State:
        """The inverse of `to_global`."""
        # The sharding of pmap's outputs; any other would compile the step a second time.
        sharding = NamedSharding(Mesh(np.array(self._devices), ("data",)), P("data"))
        return jax.tree.map(
            lambda x: jax.device_put(np.broadcast_to(np.asarray(x), (len(self._devices), *x.shape)), sharding), state
        )

    def metrics(self, metrics: dict[str, jax.Array]) -> dict[str, float]:
        """Fetch a step's metrics; every device holds the same."""
        return {name: float(value[0]) for name, value in jax.device_get(metrics).items()}


Layout = Jit | Pmap


def make_layout(config: MeshConfig) -> Layout:
    """The layout that `mesh.mode` names, over a mesh of all devices."""
    layouts: dict[str, type[Jit] | type[Pmap]] = {"jit": Jit, "pmap": Pmap}
    return layouts[config.mode](make_mesh(config))
