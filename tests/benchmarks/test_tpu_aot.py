"""The ahead-of-time TPU benchmark: its counts and choices; compiles a small step if the TPU compiler is installed."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from flax import traverse_util

from benchmarks import tpu_aot
from benchmarks.aot import plan, program
from benchmarks.aot.chips import chip_of, estimate
from benchmarks.aot.compile import LAYOUTS, OutOfMemory, abstract_experiment
from llmrec_jax import config as config_lib
from llmrec_jax.config import Config
from llmrec_jax.models import lora
from tests.conftest import REPO

MIB = 2**20
HLO = """
HloModule jit_step, is_scheduled=true

%all-reduce-scatter.1 (input: bf16[64,4]) -> bf16[8,4] {
  %input = bf16[64,4]{1,0:T(8,128)} parameter(0)
  %all-reduce.1 = bf16[64,4]{1,0:T(8,128)} all-reduce(%input), channel_id=5, to_apply=%add
  ROOT %slice = bf16[8,4]{1,0} slice(%all-reduce.1), slice={[0:8], [0:4]}
}

%fused_part (p: f32[2,4]) -> f32[16,4] {
  %p = f32[2,4]{1,0} parameter(0)
  ROOT %all-gather.2 = f32[16,4]{1,0} all-gather(%p), channel_id=6, dimensions={0}
}

%body (carry: (s32[], f32[12,256,1024])) -> (s32[], f32[12,256,1024]) {
  %carry = (s32[]{:T(128)}, f32[12,256,1024]{2,1,0}) parameter(0)
  %turn = s32[] get-tuple-element(%carry), index=0
  %stack = f32[12,256,1024]{2,1,0} get-tuple-element(%carry), index=1
  %layer = f32[256,1024]{1,0:T(8,128)S(1)} dynamic-slice(%stack, %turn), dynamic_slice_sizes={1,256,1024}
  %small = f32[2,4]{1,0:S(1)} slice(%layer), slice={[0:2], [0:4]}
  %fusion.1 = f32[16,4]{1,0:S(1)} fusion(%small), kind=kCustom, calls=%fused_part
  %fusion.2 = f32[16,4]{1,0:S(1)} fusion(%small), kind=kCustom, calls=%fused_part
  %big = bf16[64,4]{1,0:S(1)} convert(%layer)
  %fusion.3 = bf16[8,4]{1,0:S(1)} fusion(%big), kind=kCustom, calls=%all-reduce-scatter.1
  ROOT %next = (s32[], f32[12,256,1024]{2,1,0}) tuple(%turn, %stack)
}

%condition (carry: (s32[], f32[12,256,1024])) -> pred[] {
  %carry.1 = (s32[]{:T(128)}, f32[12,256,1024]{2,1,0}) parameter(0)
  %limit = s32[]{:T(128)} constant(12)
  %turn.1 = s32[] get-tuple-element(%carry.1), index=0
  ROOT %less = pred[] compare(%turn.1, %limit), direction=LT
}

ENTRY %main (stack: f32[12,256,1024], x: f32[256,1024]) -> f32[256,1024] {
  %stack.1 = f32[12,256,1024]{2,1,0} parameter(0)
  %x = f32[256,1024]{1,0} parameter(1)
  %zero = s32[] constant(0)
  %start = (s32[], f32[12,256,1024]{2,1,0}) tuple(%zero, %stack.1)
  %while.1 = (s32[], f32[12,256,1024]{2,1,0}) while(%start), condition=%condition, body=%body
  %permute = (f32[1024]{0:S(1)}, f32[1024]{0:S(1)}) collective-permute-start(%zero), channel_id=7
  ROOT %sum = (f32[256,1024]{1,0}, f32[]{:S(1)}) all-reduce(%x, %zero), channel_id=8, to_apply=%add
}
"""


def test_matmul_flops_count_scans_as_often_as_they_run_and_recomputation_too():
    layers_LDD, x_BD = jnp.ones((5, 8, 8)), jnp.ones((10, 8))

    def loss(layers_LDD):
        layer = jax.checkpoint(lambda x_BD, w_DD: jnp.tanh(x_BD @ w_DD))
        return jax.lax.scan(lambda x_BD, w_DD: (layer(x_BD, w_DD), None), x_BD, layers_LDD)[0].sum()

    forward = 5 * 2 * 10 * 8 * 8
    assert program.matmul_flops(jax.jit(loss).trace(layers_LDD).jaxpr.jaxpr) == forward
    # Forward, forward again, and one product each for the gradient of input and weights.
    assert program.matmul_flops(jax.jit(jax.grad(loss)).trace(layers_LDD).jaxpr.jaxpr) == 4 * forward


def test_collectives_count_loops_as_often_as_they_turn_and_one_spread_over_fusions_once():
    counts = program.collectives(program.operations(HLO))
    assert counts["all-gather"] == {"count": 12, "bytes": 12 * 16 * 4 * 4}
    assert counts["reduce-scatter"] == {"count": 12, "bytes": 12 * 64 * 4 * 2}  # of the whole array, not of the piece
    assert counts["all-reduce"] == {"count": 1, "bytes": MIB + 4}
    assert counts["collective-permute"]["count"] == 1
    sent = sum(count["bytes"] for count in counts.values())
    assert program.ici_bytes(counts) == sent + counts["all-reduce"]["bytes"]  # there and back


def test_what_stands_after_a_kernel_with_metadata_is_read_too():
    """A Pallas kernel brings lines of its own, one of which begins with a brace."""
    kernel = '  %kernel = f32[] custom-call(), attributes={kernel_metadata={\n"blocks":"128"\n}}, x={}\n'
    read = program.operations(HLO.replace("  %permute", kernel + "  %permute"))
    assert [operation.kind for operation in read[-3:]] == ["custom-call", "collective-permute-start", "all-reduce"]


def test_memory_traffic_leaves_out_fast_memory_and_counts_a_stack_once_in_its_loop():
    # The loop reads its stack of twelve layers once; the sum reads one array and writes one.
    read, scalars = 12 * MIB + 2 * MIB, 4 * (12 + 1 + 1)
    assert 0 <= program.memory_bytes(program.operations(HLO)) - read <= scalars


def test_counts_agree_with_a_program_that_xla_compiled():
    """The other reader of the text: XLA's own analysis, on a program without a loop."""
    compiled = jax.jit(lambda x, y: jnp.sin(x) @ y).lower(jnp.ones((256, 512)), jnp.ones((512, 128))).compile()
    ours = program.memory_bytes(program.operations(compiled.as_text()))
    assert ours == pytest.approx(compiled.cost_analysis()["bytes accessed"], rel=0.2)


def test_flops_of_a_compiled_program_are_those_of_one_device():
    mesh = jax.make_mesh((8,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.P("rows"))
    whole = jax.sharding.NamedSharding(mesh, jax.P())

    def compiled(shardings):
        layers_LDD, x_BD = jnp.ones((5, 8, 8)), jnp.ones((16, 8))
        run = jax.jit(
            lambda layers_LDD, x_BD: jax.lax.scan(lambda x_BD, w_DD: (jnp.tanh(x_BD @ w_DD), None), x_BD, layers_LDD)[
                0
            ],
            in_shardings=shardings,
        )
        return program.compiled_matmul_flops(program.operations(run.lower(layers_LDD, x_BD).compile().as_text()))

    everything = 5 * 2 * 16 * 8 * 8
    assert compiled((whole, rows)) == everything / 8
    assert compiled((whole, whole)) == everything  # eight devices compute the same


def pod_config(**sections):
    """The GPT-2 of a pod with other fields: `pod_config(encoder={"width": 64})`."""
    config = config_lib.load(REPO / "configs" / "tpu_pod_gpt2.py")
    changed = {name: dataclasses.replace(getattr(config, name), **fields) for name, fields in sections.items()}
    return dataclasses.replace(config, **changed)


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"encoder": {"width": 64, "num_layers": 6}}, "num_layers=6 .*gpt2 has 12.*width=64 .*gpt2 has 768"),
        ({"encoder": {"kind": "bert"}}, "pretrained=openai-community/gpt2 with encoder.kind=bert"),
        ({"encoder": {"pretrained": "some/folder"}}, "pretrained=some/folder"),
        ({"encoder": {"mode": "frozen"}}, "mode=frozen"),
        ({"encoder": {"frozen_layers": 6}}, "frozen_layers=6"),
        ({"model": {"item_features": "id"}}, "item_features=id"),
        ({"mesh": {"mode": "pmap"}}, "mesh.mode=pmap"),
        ({"loss": {"ranking": "gbce"}}, "loss.ranking=gbce"),
        ({"data": {"max_tokens": 2048}}, "max_tokens=2048 .*1024 positions"),
    ],
)
def test_a_step_that_would_be_another_is_refused(sections, named):
    with pytest.raises(ValueError, match=f"cannot compile .*{named}.*: only whole encoders inside a step"):
        abstract_experiment(pod_config(**sections), num_items=1000)


def test_what_is_compiled_is_what_the_configuration_says():
    for name in ("gpt2", "bert"):
        tpu_aot.load(REPO / "configs" / f"tpu_pod_{name}.py", tpu_aot.parse([]))
    small = {"pretrained": None, "num_layers": 2, "width": 64, "num_heads": 2, "dropout": 0.3}
    encoder_config = abstract_experiment(pod_config(encoder=small), num_items=1000).encoder_config
    assert {name: getattr(encoder_config, name) for name in list(small)[1:]} == dict(list(small.items())[1:])
    assert encoder_config.max_positions == 64
    adapted = abstract_experiment(pod_config(encoder={**small, "mode": "lora"}), num_items=1000)
    state = jax.eval_shape(adapted.init_state)
    paths = [path for path in traverse_util.flatten_dict(state.params) if path[0] == "encoder"]
    assert {adapted.spec.trains(path) for path in paths} == {True, False}
    assert all(adapted.spec.trains(path) == lora.is_adapter(path) for path in paths)


def test_what_cannot_be_compiled_is_wrong_usage(tmp_path, monkeypatch, capsys):
    config = tmp_path / "frozen.py"
    config.write_text(
        "from llmrec_jax.config import *\ndef config():\n    return Config(encoder=EncoderConfig(mode='frozen'))\n"
    )
    monkeypatch.setattr(sys, "argv", ["tpu_aot.py", "--config", str(config)])
    with pytest.raises(SystemExit) as exit_info:
        tpu_aot.main()
    assert exit_info.value.code == 2
    assert f"error: {config}: cannot compile encoder.mode=frozen" in capsys.readouterr().err


def faked(hbm_of):
    """A compiler whose steps need `hbm_of(choice)` GB of a chip; it refuses more than 16."""
    asked = []

    def compile_choice(choice):
        asked.append(choice)
        if (gigabytes := hbm_of(choice)) > 16:
            raise OutOfMemory
        scale = 2**choice.doublings
        return {
            "topology": "v5e:4x4",
            "chips": 16,
            "hbm_bytes_per_chip": gigabytes * 1e9,
            "tokens_per_step": 1000 * scale,
            "flops_per_chip": scale * 1e12 * (1 + plan.REMATS.index(choice.remat) / 3),
            "memory_traffic_bytes_per_chip": 0,
            "ici_traffic_bytes_per_chip": {"dp": 0.1e9, "fsdp": 0.15e9, "mixed": 0.3e9}[choice.layout],
        }

    return compile_choice, asked


def test_the_planner_picks_the_fastest_that_fits_and_compiles_little():
    least, most = plan.REMATS[0], plan.REMATS[-1]

    def gigabytes(choice):
        return {"dp": 8, "fsdp": 4, "mixed": 4}[choice.layout] * 2**choice.doublings / (1 + (choice.remat == most))

    compile_choice, asked = faked(gigabytes)
    tried = plan.search(compile_choice, LAYOUTS, num_doublings=2)
    best = plan.ranked(tried)
    # dp: 8 GB, then 16 (refused by the margin), recomputing 8, then 16 again: misfit.
    assert [one.choice.doublings for one in tried if one.choice.layout == "dp" and one.fits] == [0, 1]
    assert plan.Choice("dp", least, 0) in [one.choice for one in best]
    assert plan.Choice("dp", most, 0) not in asked  # less recomputation fits
    assert plan.Choice("dp", least, 2) not in asked  # it did not fit a smaller batch
    assert len(asked) == len(set(asked)) <= len(LAYOUTS) * (3 + len(plan.REMATS) - 1)
    assert all(one.row["hbm_bytes_per_chip"] <= 0.9 * 16e9 for one in best)
    per_token = [estimate(one.row).step / one.row["tokens_per_step"] for one in best]
    assert per_token == sorted(per_token)
    # Recomputing costs more than any layout; then, as collectives do not grow here, the larger batch wins.
    assert best[0].choice == plan.Choice("fsdp", least, 1)


def test_nothing_that_fits_is_an_error_and_a_choice_becomes_flags():
    compile_choice, asked = faked(lambda choice: 20)
    with pytest.raises(ValueError, match="no layout fits"):
        plan.ranked(plan.search(compile_choice, LAYOUTS, num_doublings=2))
    assert len(asked) == len(LAYOUTS) * len(plan.REMATS)
    flags = plan.Choice("mixed", plan.REMATS[-1], 1).flags(Config())
    assert flags.startswith("--train.batch_size 128 --mesh.data -1 --mesh.fsdp 4 --mesh.tensor 2 --encoder.remat ")


def test_the_command_line_says_what_it_does_not_know(capsys):
    assert tpu_aot.parse(["--layout", "dp", "mixed"]).layout == ["dp", "mixed"]
    long = tpu_aot.with_kernel(Config(), tpu_aot.parse(["--attention", "flash", "--tokens", "512"]))
    assert (long.encoder.attention, long.data.max_tokens) == ("flash", 512)
    assert tpu_aot.with_kernel(Config(), tpu_aot.parse([])) == Config()
    for wrong in (["--topology", "v4:2x2"], ["--layout", "dp", "--fsdp", "2"], ["--layout", "zero"]):
        with pytest.raises(SystemExit):
            tpu_aot.parse(wrong)
        assert wrong[-2].removeprefix("--") in capsys.readouterr().err
    with pytest.raises(ValueError, match="v5e, v5p, v6e"):
        chip_of("h100")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="no TPU compiler: install the [aot] extra")
def test_a_small_step_compiles_for_a_tpu(tmp_path):
    config = tmp_path / "small.py"
    config.write_text(
        "from llmrec_jax.config import *\n"
        "def config():\n"
        "    return Config(\n"
        "        data=DataConfig(max_history=8, max_tokens=16),\n"
        "        encoder=EncoderConfig(kind='gpt2', num_layers=2, width=64, num_heads=2),\n"
        "        mesh=MeshConfig(fsdp=2),\n"
        "        train=TrainConfig(batch_size=64),\n"
        "    )\n"
    )
    command = [sys.executable, "benchmarks/tpu_aot.py", "--config", config, "--topology", "v5e:2x4", "--json"]
    sizes = ["--texts", "128", "--items", "1000"]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    result = subprocess.run(
        [*command, *sizes], cwd=REPO, env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    row = json.loads(result.stdout)
    assert row["chips"] == 8
    assert 0 < row["hbm_bytes_per_chip"] < 2**30
    assert row["tokens_per_step"] == 128 * 16
    assert row["collectives"]["all-reduce"]["count"] > 0
