"""A distillation by several processes ends as by one, whether they hold whole students or parts of one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import DistributedType
from processes import python_environment
from safetensors.torch import load_file
from shards import SHARDING, pretended, sharding_environment
from toy_robots import CFG, ToyRobots

from mmnav.distill.loop import Distillation
from mmnav.errors import UserError
from mmnav.vla import make_student

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def _weights(folder: Path, stage: str) -> dict[str, torch.Tensor]:
    return load_file(folder / "students" / stage / "model.safetensors")


def _two_ranks(folder: Path, *words: str, **env: str) -> None:
    """A run by two processes."""
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone",
         Path(__file__).with_name("toy_run.py"), folder, *words],
        env=python_environment(**env), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_ranks_go_through_all_stages_together(tmp_path):
    """Every rank records shards of its own and encodes them all alike; DDP finds a gradient for every weight."""
    _two_ranks(tmp_path, "muon", ACCELERATE_USE_CPU="true")
    names = {path.name for path in (tmp_path / "episodes" / "iteration 1").glob("*.h5")}
    assert names == {"shard-000-000000.h5", "shard-001-000000.h5"}
    assert json.loads((tmp_path / "results.json").read_text())["best"] in ("stage 1", "iteration 1")
    features = [torch.load(tmp_path / f"features-{rank}.pt", weights_only=True) for rank in range(2)]
    assert torch.equal(*features) and features[0].any()


@pytest.mark.parametrize("config", SHARDING)
def test_two_ranks_that_cut_up_the_weights_learn_what_whole_ones_learn(tmp_path, config):
    _two_ranks(tmp_path / "whole", "adamw", ACCELERATE_USE_CPU="true")
    _two_ranks(tmp_path / "cut", "adamw", **sharding_environment(config))
    for stage in ("pretrained", "iteration 1"):
        whole, cut = _weights(tmp_path / "whole", stage), _weights(tmp_path / "cut", stage)
        for name, weight in whole.items():  # a few gradients hardly differ from zero, and Adam takes their signs
            difference = (cut[name] - weight)[weight.isfinite()].float().abs().mean()
            assert difference < 5e-5, name  # the steps were of 1e-3
    features = [torch.load(tmp_path / "cut" / f"features-{rank}.pt", weights_only=True) for rank in range(2)]
    assert torch.equal(*features) and features[0].any()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sight": replace(CFG.sight, optimizer="muon")}, "sight.optimizer is muon"),
        ({"online": replace(CFG.online, optimizer="muon")}, "online.optimizer is muon"),
        ({"offline": replace(CFG.offline, accumulate=2)}, "offline.accumulate is 2; it must be 1 with DeepSpeed"),
    ],
)
def test_what_its_processes_cannot_do_is_refused_before_anything_is_recorded(tmp_path, changes, why):
    cfg = replace(CFG, **changes)
    with pretended(DistributedType.DEEPSPEED) as accelerator, pytest.raises(UserError, match=why):
        Distillation(cfg, tmp_path / "run", make_student("nano"), ToyRobots(), accelerator=accelerator)
    assert not (tmp_path / "run").exists()


def test_a_lesson_that_was_learned_asks_nothing_of_the_processes(tmp_path):
    """A run whose tower learned by Muon goes on under ZeRO if its stages do not."""
    cfg = replace(CFG, sight=replace(CFG.sight, optimizer="muon"))
    Distillation(cfg, tmp_path, make_student("nano"), ToyRobots()).run("lessons")
    with pretended(DistributedType.DEEPSPEED) as accelerator:
        run = Distillation(cfg, tmp_path, make_student("nano"), ToyRobots(), accelerator=accelerator)
    assert run.results["lessons"]["seconds"] > 0.0


def test_layers_are_not_computed_again_twice(tmp_path):
    again = replace(CFG, gradient_checkpointing=True)
    for doubly, cfg in ((True, CFG), (False, again)):
        with pretended(DistributedType.FSDP, activation_checkpointing=doubly) as accelerator:
            Distillation(cfg, tmp_path, make_student("nano"), ToyRobots(), accelerator=accelerator)
    with pretended(DistributedType.FSDP, activation_checkpointing=True) as accelerator:
        with pytest.raises(UserError, match="as fsdp_activation_checkpointing does the same"):
            Distillation(again, tmp_path, make_student("nano"), ToyRobots(), accelerator=accelerator)


def test_shards_that_leave_no_whole_student_are_refused(tmp_path):
    with pretended(DistributedType.FSDP, fsdp_version=1) as accelerator, pytest.raises(UserError, match="must be 2"):
        Distillation(CFG, tmp_path, make_student("nano"), ToyRobots(), accelerator=accelerator)
