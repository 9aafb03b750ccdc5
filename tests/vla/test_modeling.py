"""The student computes the same in chunks, in windows and online, and survives being saved."""

from __future__ import annotations

import pytest
import torch

from mmnav.vla import MMNavConfig, load_student, make_student
from mmnav.vla.odometry import reckon, seen_from
from mmnav.vla.sight import feature_dim, pool_features

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module", params=["nano", "nano-siglip"])
def scale(request):
    return request.param


@pytest.fixture(scope="module", params=[48, 0], ids=["panorama", "tokens"])
def student(request, scale):
    coarse = {"history_grid": [1, 4] if scale == "nano" else [2, 2]}  # frames as tokens are pooled
    model, processor = make_student(scale, seed=1, panorama_channels=request.param, **({} if request.param else coarse))
    model.set_action_statistics(torch.tensor([[0.5, -0.1, 0.3], [1.0, 0.2, -0.4], [0.1, 0.0, 0.2]]))
    return model.eval(), processor


def _chunk(student, batch: int = 2, length: int = 12, targets: int = 3) -> dict:
    """Random frames, goals and commands; ``told`` are the commands of one step before each frame."""
    model, processor = student
    generator = torch.Generator().manual_seed(0)
    size = (batch, length, model.config.view_count, 3, *model.config.image_size)
    images = torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    chunk = processor(images=images, goals=10.0 * torch.randn(batch, targets, 2, generator=generator))
    told = torch.randn(batch, length, 3, generator=generator)
    told[:, 0] = 0.0  # before the first frame, nothing was
    poses = reckon(told[:, 1:], model.config.control_step)
    poses = torch.cat([poses, _last_pose(told[:, 1:], model.config.control_step)], 1)  # at every frame
    now = torch.arange(length - targets, length)
    before = poses[:, (now[:, None] - torch.tensor(model.config.look_back, dtype=torch.long)).clamp(min=0)]
    moves = seen_from(poses[:, now, None].expand_as(before), before)
    return {**chunk, "told": told, "moves": moves, "command": told[:, now]}


def _last_pose(commands: torch.Tensor, step: float) -> torch.Tensor:
    """Where bases are after all of their commands, shape [B, 1, 3]."""
    return reckon(torch.cat([commands, commands[:, -1:]], 1), step)[:, -1:]


def _online(student, chunk: dict, targets: int) -> torch.Tensor:
    """Drives through a chunk step by step, from an empty memory."""
    model, _ = student
    batch, length = chunk["pixel_values"].shape[:2]
    memory, velocity = model.new_memory(batch), []
    for t in range(length):
        k = max(t - (length - targets), 0)
        prompt = {name: chunk[name][:, k] for name in ("input_ids", "attention_mask")}
        velocity.append(model.act(chunk["pixel_values"][:, t], **prompt, memory=memory, command=chunk["told"][:, t]))
    return torch.stack(velocity[-targets:], 1)


def test_chunks_equal_online_inference_with_a_cached_history(student):
    chunk = _chunk(student)
    with torch.inference_mode():
        together = student[0](**chunk).velocity
    torch.testing.assert_close(together, _online(student, chunk, 3), rtol=0.0, atol=1e-6)


def test_a_chunk_that_begins_an_episode_has_no_history(student):
    chunk = _chunk(student, length=5, targets=5)
    with torch.inference_mode():
        together = student[0](**chunk).velocity
    torch.testing.assert_close(together, _online(student, chunk, 5), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize(
    "fields",
    [{"history": []}, {"trail": []}, {"view_count": 1}, {"history": [], "trail": [], "command_input": False}],
    ids=["no history", "no trail", "front only", "nothing but now"],
)
def test_a_student_that_is_told_less_acts_in_chunks_as_online(fields):
    model, processor = make_student("nano", seed=1, **fields)
    student = model.eval(), processor
    chunk = _chunk(student)
    with torch.inference_mode():
        together = model(**chunk).velocity
    torch.testing.assert_close(together, _online(student, chunk, 3), rtol=0.0, atol=1e-6)


def test_robots_that_act_alone_or_begin_again_do_not_disturb_others(student):
    """Of three robots, the first acts at every other step alone, and the second begins again before the fifth step."""
    model, _ = student
    chunk = _chunk(student, batch=3, length=8, targets=1)
    prompt = {name: chunk[name][:, 0] for name in ("input_ids", "attention_mask")}

    def act(memory, robots: list[int], step: int, rows: list[int]) -> torch.Tensor:
        said = {name: value[robots] for name, value in prompt.items()}
        return model.act(chunk["pixel_values"][robots, step], **said, memory=memory, robots=torch.tensor(rows))

    together, alone = model.new_memory(3), [model.new_memory(1) for _ in range(3)]
    for step in range(8):
        if step == 4:
            together.reset(torch.tensor([1]))
            alone[1] = model.new_memory(1)
        robots = [2, 1] if step % 2 else [1, 0, 2]
        velocity = act(together, robots, step, robots)
        expected = torch.cat([act(alone[robot], [robot], step, [0]) for robot in robots])
        torch.testing.assert_close(velocity, expected, rtol=0.0, atol=1e-5)


def test_frames_of_another_episode_are_not_seen(student):
    chunk = _chunk(student, batch=1, targets=1)
    mask = torch.ones(1, 12, dtype=torch.bool)
    mask[:, :-1] = False
    with torch.inference_mode():
        alone = student[0](**chunk, frame_mask=mask).velocity
        other = {**chunk, "pixel_values": chunk["pixel_values"].clone()}
        other["pixel_values"][:, :-1] += 1.0
        torch.testing.assert_close(student[0](**other, frame_mask=mask).velocity, alone, rtol=0.0, atol=1e-6)
        assert (student[0](**other).velocity - student[0](**chunk).velocity).abs().max() > 1e-5


def test_what_was_commanded_counts_and_is_remembered(student):
    model, _ = student
    chunk = _chunk(student, targets=2)
    frames, memory = chunk["pixel_values"], model.new_memory(2)
    prompt = {name: chunk[name][:, 0] for name in ("input_ids", "attention_mask")}
    first = model.act(frames[:, 0], **prompt, memory=memory)
    assert torch.equal(memory.command, first)
    told = model.act(frames[:, 1], **prompt, memory=memory)
    memory.reset()
    model.act(frames[:, 0], **prompt, memory=memory, command=torch.zeros(2, 3))
    assert torch.equal(model.act(frames[:, 1], **prompt, memory=memory, command=first), told)
    memory.reset()
    assert not memory.command.any()
    model.act(frames[:, 0], **prompt, memory=memory)
    assert not torch.equal(model.act(frames[:, 1], **prompt, memory=memory, command=first + 0.1), told)
    for name in ("moves", "command"):
        with pytest.raises(ValueError, match=f"{name} is None"):
            model(**{key: value for key, value in chunk.items() if key != name})


def test_features_and_windows_give_what_pixels_give(student):
    model, _ = student
    chunk = _chunk(student, targets=1)
    with torch.inference_mode():
        whole = model(**chunk).velocity
        features = model.encode(chunk["pixel_values"].flatten(0, 1)).unflatten(0, (2, -1))
        prompt = {name: chunk[name] for name in ("input_ids", "attention_mask", "moves", "command")}
        torch.testing.assert_close(model(**prompt, features=features).velocity, whole, rtol=0.0, atol=1e-6)
        ago = torch.tensor(model.config.history)
        window = {"current": features[:, -1], "history": pool_features(features[:, 11 - ago], model.config)}
        window["history_mask"] = torch.ones(2, len(ago), dtype=torch.bool)
        torch.testing.assert_close(model(**prompt, **window).velocity, whole, rtol=0.0, atol=1e-6)


def test_every_view_time_and_digit_counts(student):
    model, processor = student
    chunk = _chunk(student, batch=1, targets=1)
    with torch.inference_mode():
        before = model(**chunk).velocity
        for view in range(4):
            for frame in (11 - model.config.history[0], 11):
                changed = {**chunk, "pixel_values": chunk["pixel_values"].clone()}
                changed["pixel_values"][:, frame, view] *= -1.0
                assert not torch.equal(model(**changed).velocity, before), (view, frame)
        swapped = {**chunk, "pixel_values": chunk["pixel_values"][:, :, [1, 0, 2, 3]]}
        assert not torch.equal(model(**swapped).velocity, before)
        for text in ("<x:1.25, y:0.00>", "<x:1.26, y:0.00>", "<x:1.25, y:0.10>"):
            prompt = processor(text=[f"Go to the position of {text}"])
            prompt = {k: v[None] for k, v in prompt.items()} | {k: chunk[k] for k in ("moves", "command")}
            now = model(pixel_values=chunk["pixel_values"], **prompt).velocity
            assert not torch.equal(now, before), text
            before = now


def test_a_saved_student_acts_bit_for_bit_the_same(student, tmp_path):
    model, processor = student
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again, reader = load_student(tmp_path)
    chunk = _chunk(student)
    same = _chunk((again, reader))
    with torch.inference_mode():
        assert torch.equal(again(**same).velocity, model(**chunk).velocity)
    assert torch.equal(again.action_std, model.action_std)


def test_the_auto_classes_know_the_student_without_remote_code(student, tmp_path):
    from transformers import AutoModel, AutoProcessor

    student[0].save_pretrained(tmp_path)
    student[1].save_pretrained(tmp_path)
    assert type(AutoModel.from_pretrained(tmp_path)) is type(student[0])
    assert type(AutoProcessor.from_pretrained(tmp_path)) is type(student[1])
    assert "auto_map" not in (tmp_path / "config.json").read_text()


def test_gradient_checkpointing_computes_layers_again_and_changes_no_gradient():
    gradients, runs = [], []
    for checkpointing in (False, True):
        model, processor = make_student("nano-siglip", seed=1)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
        layers = [model.vision_tower.encoder.layers[0], model.language_model.layers[0]]
        ran = []
        for layer in layers:
            layer.self_attn.register_forward_pre_hook(lambda module, *_, ran=ran: ran.append(module))
        chunk = _chunk((model, processor), targets=2)
        model(**chunk, labels=torch.ones(2, 2, 3)).loss.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
        runs.append([ran.count(layer.self_attn) for layer in layers])
    assert runs == [[1, 1], [2, 2]]
    assert len(gradients[0]) == len(gradients[1]) > 50
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


def test_a_lora_adapter_learns_and_merges():
    from peft import LoraConfig, get_peft_model

    model, processor = make_student("nano", seed=1)
    cfg = LoraConfig(
        r=4,
        target_modules=r".*language_model.*\.(q_proj|v_proj|gate_proj)",
        modules_to_save=["sight", "action_head", "action_query"],
    )
    chunk = _chunk((model, processor))
    tuned = get_peft_model(model, cfg)
    optimizer = torch.optim.AdamW((p for p in tuned.parameters() if p.requires_grad), 1e-3)
    losses = []
    for _ in range(5):
        loss = tuned(**chunk, labels=torch.ones(2, 3, 3)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    tuned.eval()
    with torch.inference_mode():
        before = tuned(**chunk).velocity
        torch.testing.assert_close(tuned.merge_and_unload()(**chunk).velocity, before, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("fields", [{"panorama_channels": 0}, {"view_count": 2}], ids=["tokens", "right side only"])
def test_what_has_no_mirror_image_refuses_to_be_mirrored(fields):
    student = make_student("nano", seed=1, **fields)
    with pytest.raises(ValueError, match="mirrored is given"):
        student[0](**_chunk(student, targets=1), mirrored=torch.ones(2, 1, dtype=torch.bool))


def test_the_trail_counts_as_far_as_it_is_told():
    """Places of the trail change the velocity, but not beyond 9 m; headings do not."""
    student = make_student("nano", seed=1)
    chunk, times = _chunk(student, targets=1), len(student[0].config.history)
    elsewhere = lambda change: {**chunk, "moves": change(chunk["moves"].clone())}  # noqa: E731

    def at(place: float, channel: int):
        def change(moves):
            moves[:, :, times:, channel] = place
            return moves

        return student[0].eval()(**elsewhere(change)).velocity

    with torch.inference_mode():
        assert torch.equal(at(9.0, 0), at(20.0, 0)) and torch.equal(at(-9.0, 1), at(-20.0, 1))
        assert (at(8.0, 0) - at(9.0, 0)).abs().max() > 1e-6 and (at(8.0, 1) - at(9.0, 1)).abs().max() > 1e-6
        assert torch.equal(at(0.0, 2), at(1.0, 2))


def test_a_memory_of_places_is_right_for_longer_than_it_reaches_back():
    """After many times as many steps as it keeps, and for robots that began at different times."""
    model, _ = make_student("nano", seed=1, trail=[3, 5])
    config, memory, steps = model.config, model.new_memory(2), 40
    commands = torch.randn(2, steps, 3, generator=torch.Generator().manual_seed(0))
    features = torch.zeros(1, config.view_count, 16, feature_dim(config))
    late = 7
    for step in range(steps):
        for robot in range(2):
            if step >= late * robot:
                row = torch.tensor([robot])
                moves, _ = memory.move(row)
                memory.append(row, features, commands[row, step])
                poses = reckon(commands[row, late * robot : step + 1], config.control_step)
                past = [max(poses.shape[1] - 1 - ago, 0) for ago in config.look_back]
                before = poses[:, past]
                expected = seen_from(poses[:, -1:].expand_as(before), before)
                torch.testing.assert_close(moves, expected, rtol=0.0, atol=1e-4)


def test_one_batch_can_be_learned_by_heart():
    model, processor = make_student("nano", seed=1)
    model.freeze_tower()
    chunk = _chunk((model, processor), batch=4, length=3, targets=1)
    labels = torch.randn(4, 1, 3, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), 2e-3)
    for _ in range(60):
        loss = model(**chunk, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.02


@pytest.mark.parametrize(
    ("field", "value"),
    [("history", [2, 4]), ("history", [1, 0]), ("view_count", 5), ("current_grid", [4]), ("image_size", [0, 64])]
    + [("panorama_channels", -1), ("control_step", 0.0)],
)
def test_a_configuration_that_cannot_be_is_named(field, value):
    with pytest.raises(ValueError, match=field):
        MMNavConfig(**{field: value})


@pytest.mark.parametrize(("field", "value"), [("history_grid", [2, 2]), ("field_of_view", [60.0, 80.0])])
def test_what_does_not_make_a_panorama_is_named(field, value):
    fits = {"panorama_channels": 8, "history_grid": [4, 4]}
    assert MMNavConfig(**fits).panorama_channels == 8
    with pytest.raises(ValueError, match=field):
        MMNavConfig(**{**fits, field: value})


def test_pooling_means_squares_of_cells(student):
    config = student[0].config
    grid = torch.randn(3, 5, *config.current_grid)
    wanted = torch.nn.functional.adaptive_avg_pool2d(grid, tuple(config.history_grid))
    pooled = pool_features(grid.flatten(2).transpose(1, 2), config)
    torch.testing.assert_close(pooled, wanted.flatten(2).transpose(1, 2))
