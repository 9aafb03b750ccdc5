"""The trainer repeats itself: resumed, accumulated, and spread over processes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import DistributedType
from linear import CFG, Linear, Numbered, fit
from processes import python_environment
from shards import SHARDING, pretended, sharding_environment
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from mmnav.distill.trainer import Trainer, TrainerCfg, check_processes, make_optimizers
from mmnav.errors import UserError


def _same(a: torch.nn.Module, b: torch.nn.Module | dict, exactly: bool = False) -> None:
    b = b if isinstance(b, dict) else b.state_dict()
    for name, value in a.state_dict().items():
        torch.testing.assert_close(value, b[name], rtol=0.0 if exactly else 1e-5, atol=0.0 if exactly else 1e-6)


@pytest.mark.unit
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_learns_and_repeats_itself_bit_for_bit(tmp_path, optimizer):
    model, again = (fit(tmp_path / name, optimizer=optimizer) for name in "ab")
    _same(model, again, exactly=True)
    batch = Numbered().batch(np.arange(1000, 1100))
    assert model(**batch).loss < 0.5 * Linear()(**batch).loss


@pytest.mark.unit
@pytest.mark.parametrize(("optimizer", "stop"), [("adamw", 5), ("adamw", 7), ("adamw", 10), ("muon", 7)])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path, optimizer, stop):
    cfg = replace(CFG, optimizer=optimizer)
    whole = fit(tmp_path / "whole", optimizer=optimizer)

    def interrupt(progress):
        if progress.step == stop:
            raise KeyboardInterrupt

    trainer = Trainer(Linear(), Numbered(), cfg, tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(interrupt)
    samples = Numbered()
    _same(fit(tmp_path / "stopped", samples=samples, optimizer=optimizer), whole, exactly=True)
    # the state of the last saved step, not of the first one
    assert samples.asked[0][0] == CFG.batch * (stop // CFG.save_every if stop % CFG.save_every else (stop - 1) // 5) * 5


@pytest.mark.unit
def test_a_state_that_a_kill_left_between_two_renames_is_found(tmp_path):
    whole = fit(tmp_path / "whole")
    trainer = Trainer(Linear(), Numbered(), CFG, tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(lambda p: (_ for _ in ()).throw(KeyboardInterrupt) if p.step == 7 else None)
    (tmp_path / "killed" / "state").rename(tmp_path / "killed" / ".state.old")
    (tmp_path / "killed" / ".state.new").mkdir()
    _same(fit(tmp_path / "killed"), whole, exactly=True)


@pytest.mark.unit
def test_eight_micro_batches_equal_one_large_batch(tmp_path):
    _same(fit(tmp_path / "1x8", accumulate=8), fit(tmp_path / "8x1"))


def _spread(folder: Path, **env: str) -> dict[str, torch.Tensor]:
    """Weights that two processes learn."""
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    words += [Path(__file__).with_name("linear.py"), folder, folder / "weights.pt"]
    done = subprocess.run(words, env=python_environment(**env), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    made = torch.load(folder / "weights.pt", weights_only=True)
    assert made["processes"] == 2
    return made["weights"]


@pytest.mark.integration
@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    _same(fit(tmp_path / "one"), _spread(tmp_path / "two", ACCELERATE_USE_CPU="true"))


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize("config", SHARDING)
def test_two_processes_that_cut_up_the_weights_equal_one_and_go_on_where_they_stopped(tmp_path, config):
    """The second time they begin with the state of step 10 of 12; the whole model has the weights in the end."""
    whole = fit(tmp_path / "one")
    for _ in range(2):
        _same(whole, _spread(tmp_path / "two", **sharding_environment(config)))
        parts = {"fsdp": "pytorch_model_fsdp_0/*.distcp", "zero3": "pytorch_model/zero_pp_rank_*_optim_states.pt"}
        assert len(list((tmp_path / "two" / "state").glob(parts[config]))) == 2


@pytest.mark.unit
def test_muon_takes_the_large_matrices_and_adamw_the_rest():
    model = nn.ModuleDict({"table": nn.Embedding(50, 40), "mix": nn.Linear(40, 40), "head": nn.Linear(40, 3)})
    model["frozen"] = nn.Linear(40, 40).requires_grad_(False)
    model["see"] = nn.Conv2d(8, 40, 3, bias=False)
    muon, adamw = make_optimizers(model, TrainerCfg(optimizer="muon", weight_decay=0.5))
    names = {p.data_ptr(): name for name, p in model.named_parameters()}
    taken = lambda group: {names[p.data_ptr()] for p in group["params"]}  # noqa: E731
    assert [taken(group) for group in muon.param_groups] == [{"mix.weight", "see.weight"}]
    assert [taken(group) for group in adamw.param_groups] == [
        {"table.weight", "head.weight"},
        {"mix.bias", "head.bias"},
    ]
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.5, 0.0]
    (alone,) = make_optimizers(model, TrainerCfg())
    assert sum(len(group["params"]) for group in alone.param_groups) == 6


@pytest.mark.unit
@pytest.mark.parametrize(
    ("kind", "setting", "why"),
    [
        (DistributedType.FSDP, {"optimizer": "muon"}, "optimizer is muon, which .*; FSDP cuts them up"),
        (DistributedType.DEEPSPEED, {"optimizer": "muon"}, "optimizer is muon, which .*; DEEPSPEED cuts them up"),
        (DistributedType.DEEPSPEED, {"accumulate": 2}, "accumulate is 2; it must be 1"),
    ],
)
def test_what_does_not_go_with_cut_up_weights_is_refused(tmp_path, kind, setting, why):
    with pretended(kind) as accelerator, pytest.raises(UserError, match=why):
        fit(tmp_path, accelerator, **setting)


@pytest.mark.unit
def test_every_sample_of_a_step_is_used_once(tmp_path):
    samples = Numbered()
    fit(tmp_path, samples=samples, accumulate=4, steps=3)
    assert np.array_equal(np.sort(np.concatenate(samples.asked)), np.arange(3 * CFG.batch))


@pytest.mark.unit
def test_a_state_of_another_configuration_is_refused(tmp_path):
    trainer = Trainer(Linear(), Numbered(), CFG, tmp_path)
    trainer.save()
    with pytest.raises(UserError, match="another lr"):
        fit(tmp_path, lr=0.01)


@pytest.mark.unit
def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(ValueError, match="TrainerCfg.batch is 32; it must be a multiple of accumulate, 5"):
        replace(CFG, accumulate=5)
    three = SimpleNamespace(num_processes=3, distributed_type=DistributedType.MULTI_CPU)
    with pytest.raises(UserError, match="offline.batch is 32; it must be a multiple of 6, for 3 processes x 2"):
        check_processes(replace(CFG, accumulate=2), three, "offline")


@pytest.mark.unit
def test_a_curve_goes_on_where_the_state_was_saved(tmp_path):
    """What was drawn after it belongs to steps that are done once more."""

    class Stopped(Numbered):
        def batch(self, numbers):
            if numbers[0] >= 8 * CFG.batch:
                raise KeyboardInterrupt
            return super().batch(numbers)

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, samples=Stopped(), log_every=1)
    fit(tmp_path, log_every=1)
    curve = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert [point.step for point in curve] == list(range(1, CFG.steps + 1))


@pytest.mark.unit
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_state(tmp_path):
    class Poisoned(Numbered):
        def batch(self, numbers):
            made = super().batch(numbers)
            if numbers[0] >= 8 * CFG.batch:
                made["y"][0] = torch.nan
            return made

    with pytest.raises(UserError, match="loss of step 8 is nan"):
        fit(tmp_path, samples=Poisoned())
    assert (tmp_path / "state" / "position.json").is_file()


@pytest.mark.unit
@pytest.mark.parametrize("what", ["the state", "a curve"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # TensorBoard writes in a thread
def test_a_full_disk_is_one_clear_error_and_keeps_the_state(tmp_path, small_disk, what):
    def fill(progress):
        if progress.step == 7:
            small_disk(4096 if what == "the state" else 200)

    trainer = Trainer(Linear(), Numbered(), replace(CFG, log_every=1 if what == "a curve" else 100), tmp_path)
    try:
        with pytest.raises(UserError, match=f"{tmp_path}.*cannot be written"):
            trainer.fit(fill)
    finally:
        small_disk(resource.RLIM_INFINITY)
    assert json.loads((tmp_path / "state" / "position.json").read_text())["step"] == 5
    _same(fit(tmp_path, log_every=trainer.cfg.log_every), fit(tmp_path / "whole"), exactly=True)


@pytest.mark.unit
@pytest.mark.parametrize(("field", "value"), [("steps", 0), ("lr", -1.0), ("lr", float("nan")), ("accumulate", 0)])
def test_an_impossible_setting_is_named(field, value):
    with pytest.raises(ValueError, match=f"TrainerCfg.{field} is {value}"):
        TrainerCfg(**{field: value})
