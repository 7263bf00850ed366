"""Devices: how arrays lie on the mesh, and how one step runs on all of it.

Two layouts with the same methods run the same step. `Jit` (default) compiles it once over the whole mesh; the compiler
inserts the communication. `Pmap` runs it under `jax.pmap`, a copy of the state per device; the step itself gathers what
must be seen as one. The names of the mesh axes stand here and nowhere else.
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

AXES = ("data", "fsdp", "tensor")  # tensor is last: `models/splash.py` cuts heads over the last axis, rows over others
ROWS = P(("data", "fsdp"))  # the batch is cut over both; tensor-parallel devices share their rows
MIN_SHARDED_SIZE = 2**12  # smaller arrays are cheaper to copy than to cut

# The first rule whose pattern is found in an array's path names the dimension that tensor parallelism cuts.
TENSOR_RULES = (
    (r"\['(query|key|value|up)'\]\['(kernel|bias)'\]", -1),  # each device holds some heads, some hidden units
    (r"\['(out|down)'\]\['kernel'\]", -2),  # and multiplies them by its rows; the partial products are summed
)

State = Any
Step = Callable[..., tuple[State, dict[str, jax.Array]]]


def make_mesh(config: MeshConfig) -> Mesh:
    """Lay all devices out as (data, fsdp, tensor). Raises ValueError where the sizes do not multiply to the devices."""
    num_devices = jax.device_count()
    data = config.data if config.data > 0 else max(1, num_devices // (config.fsdp * config.tensor))
    shape = (data, config.fsdp, config.tensor)
    used = int(np.prod(shape))
    if used > num_devices or (used < num_devices and (config.data == -1 or jax.process_count() > 1)):
        raise UserError(f"mesh data x fsdp x tensor = {data} x {config.fsdp} x {config.tensor} = {used} devices, "
                         f"but this job has {num_devices}")  # fmt: skip
    if config.mode == "pmap" and used != data:
        raise UserError("mesh.mode=pmap copies the state to every device: mesh.fsdp and mesh.tensor must be 1")
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * 3, devices=jax.devices()[:used])


def spec_of(path: str, shape: tuple[int, ...], mesh: Mesh, *, in_use: bool = False) -> P:
    """How one array of the state is cut: by its tensor rule, then its largest dimension that divides, over fsdp.

    While a step uses it, it is cut by its tensor rule only.
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
    """The sharding of every array of a state; `state` may be abstract. Moments lie as their parameters do."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: NamedSharding(mesh, spec_of(jax.tree_util.keystr(path), x.shape, mesh)), state
    )


def to_host(tree: Any) -> Any:
    """Global arrays, whole, in the memory of every process; all processes must call it."""
    return multihost_utils.process_allgather(tree, tiled=True)


def on_any_process(flag: bool) -> jax.Array:
    """Whether `flag` holds on any process of the job: bool scalar, computed behind what the devices have to do already.

    All processes must call it, in the same order with what else runs on the devices.
    """
    mesh = Mesh(np.array(jax.devices()), ("data",))
    flags_local = np.full(jax.local_device_count(), flag)
    flags = jax.make_array_from_process_local_data(NamedSharding(mesh, P("data")), flags_local, (mesh.size,))
    return _any(flags)


_any = jax.jit(jnp.any)


@dataclasses.dataclass(frozen=True)
class Jit:
    """One program over the whole mesh; arrays are global, cut by the rules above."""

    mesh: Mesh

    @property
    def num_row_shards(self) -> int:
        """Into how many pieces the rows of a batch are cut."""
        return self.mesh.shape["data"] * self.mesh.shape["fsdp"]

    def collectives(self) -> Collectives:
        """Inside the step every array is whole already; gathering only says that each device needs all of it."""
        whole, rows = NamedSharding(self.mesh, P()), NamedSharding(self.mesh, ROWS)
        return Collectives(
            all_gather=lambda x: jax.lax.with_sharding_constraint(x, whole),
            psum=lambda tree: tree,
            pmax=lambda x: x,
            axis_index=lambda: jnp.int32(0),
            num_shards=self.mesh.size,
            local_shards=lambda x: jax.lax.with_sharding_constraint(x, rows),
            map_shards=self._map_shards,
            gather_params=self._gather_params,
        )

    def _map_shards(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Run `fn` on every device on a share of its own, those that share their rows included."""
        if self.mesh.size == 1:
            return on_one_shard(fn)
        rows = NamedSharding(self.mesh, ROWS)
        cut = jax.shard_map(
            on_one_shard(fn), mesh=self.mesh, in_specs=(P(AXES), P()), out_specs=P(AXES), check_vma=False
        )
        # Where the shares come from they lie by rows: left to choose, the compiler cuts all that made them by AXES.
        return lambda share, whole: cut(jax.lax.with_sharding_constraint(share, rows), whole)

    def _gather_params(self, params: State) -> State:
        """Gather what fsdp cut: left to choose, the compiler gathers the activations of the batch instead."""
        return jax.tree_util.tree_map_with_path(
            lambda path, x: jax.lax.with_sharding_constraint(
                x, NamedSharding(self.mesh, spec_of(jax.tree_util.keystr(path), x.shape, self.mesh, in_use=True))
            ),
            params,
        )

    def init(self, fn: Callable[[], State]) -> State:
        """Make a state on the devices, each building only its part."""
        return jax.jit(fn, out_shardings=state_shardings(jax.eval_shape(fn), self.mesh))()

    def put_batch(self, batch: Any) -> Any:
        """Place a whole host batch; every process holds all of it and sends its devices their rows."""
        sharding = NamedSharding(self.mesh, ROWS)
        return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, sharding, x.__getitem__), batch)

    def put_whole(self, tree: Any) -> Any:
        """Place a copy of every array on every device."""
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
        """The state as global arrays: what checkpoints and evaluation read."""
        return state

    def from_global(self, state: State) -> State:
        """The inverse of `to_global`."""
        return state

    def metrics(self, metrics: dict[str, jax.Array]) -> dict[str, float]:
        """Fetch a step's metrics."""
        return {name: float(value) for name, value in jax.device_get(metrics).items()}


@dataclasses.dataclass(frozen=True)
class Pmap:
    """One program per device, a copy of the state on each; arrays carry a leading axis of this process's devices."""

    mesh: Mesh

    @property
    def num_row_shards(self) -> int:
        """Into how many pieces the rows of a batch are cut."""
        return self.mesh.size

    @property
    def _devices(self) -> list[jax.Device]:
        return [device for device in self.mesh.devices.flat if device.process_index == jax.process_index()]

    def collectives(self) -> Collectives:
        """Inside the step each device holds its share; sums and gathers run over all of them."""
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
        """Make a state on every device."""
        return self.from_global(jax.jit(fn)())

    def put_batch(self, batch: Any) -> Any:
        """Cut a whole host batch into one share per device of the job; send this process's devices theirs."""
        local = slice(jax.process_index() * len(self._devices), (jax.process_index() + 1) * len(self._devices))
        return jax.tree.map(lambda x: x.reshape(self.mesh.size, -1, *x.shape[1:])[local], batch)

    def put_whole(self, tree: Any) -> Any:
        """Place a copy of every array on every device."""
        return self.from_global(tree)

    def compile(self, step: Step, state: State) -> Step:
        """Compile `step(state, batch, catalog, collectives)`; the state is donated."""
        step = functools.partial(step, collectives=self.collectives())
        return jax.pmap(step, axis_name="data", devices=list(self.mesh.devices.flat), donate_argnums=0)

    def to_global(self, state: State) -> State:
        """The state as global arrays: what checkpoints and evaluation read."""
        whole = NamedSharding(self.mesh, P())
        return jax.tree.map(
            lambda x: jax.make_array_from_callback(x.shape[1:], whole, np.asarray(x[0]).__getitem__), state
        )

    def from_global(self, state: State) -> State:
        """The inverse of `to_global`."""
        # As pmap lays out what it returns: the step would be compiled again for arrays cut by any other name.
        copies = NamedSharding(Mesh(np.array(self._devices), ("data",)), P("data"))
        return jax.tree.map(
            lambda x: jax.device_put(np.broadcast_to(np.asarray(x), (len(self._devices), *x.shape)), copies), state
        )

    def metrics(self, metrics: dict[str, jax.Array]) -> dict[str, float]:
        """Fetch a step's metrics; every device holds the same."""
        return {name: float(value[0]) for name, value in jax.device_get(metrics).items()}


Layout = Jit | Pmap


def make_layout(config: MeshConfig) -> Layout:
    """The layout that `mesh.mode` names, over a mesh of all devices."""
    layouts: dict[str, type[Jit] | type[Pmap]] = {"jit": Jit, "pmap": Pmap}
    return layouts[config.mode](make_mesh(config))
