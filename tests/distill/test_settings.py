"""Settings are read strictly, and every shipped file fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmnav.distill.settings import DistillCfg, load_settings, save_settings
from mmnav.distill.trainer import TrainerCfg
from mmnav.errors import UserError
from mmnav.vla import SCALES

CONFIG = Path(__file__).resolve().parents[2] / "config"

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_has_settings_that_fit(scale):
    assert isinstance(load_settings(CONFIG / "distill" / f"{scale}.yaml"), DistillCfg)


@pytest.mark.parametrize("path", sorted((CONFIG / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_its_files(path):
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(path)).num_processes == 8


def test_saved_settings_are_read_again(tmp_path):
    cfg = DistillCfg(seed=3, balance="off", online=TrainerCfg(steps=7, lr=1e-4))
    path = tmp_path / "settings.yaml"
    save_settings(path, cfg)
    assert load_settings(path) == cfg


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iterations: -1", "iterations is -1"),
        ("iteration: 3", "iteration.*Did you mean iterations"),
        ("online: {lr: fast}", "fast"),
        ("mixing: 2.0", "mixing is 2.0"),
        ("balance: 1", "balance is 1"),
        ('balance: "no"', "balance is 'no'"),
        ("online: {step: 3}", "step.*Did you mean steps"),
        ("a: [", "no YAML"),
        ("offline: 500", "500 stands where names and values of TrainerCfg must"),
        ("online:", "None stands where names and values of TrainerCfg must"),
        ("[1, 2]", "stands where names and values of DistillCfg must"),
        ("online: {warmup: -5}", "warmup is -5"),
        ("online: {weight_decay: .nan}", "weight_decay is nan"),
        ("online: {final_lr: -1.0}", "final_lr is -1"),
        ("disturbance: 0.9", "disturbance is 0.9"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, text, message):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_settings(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        load_settings(tmp_path / "none.yaml")
