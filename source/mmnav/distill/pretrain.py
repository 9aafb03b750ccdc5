"""Pretraining: a tower learns to measure, a sight to see what the experts see, a language model to read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F
from transformers.utils import ModelOutput

from ..vla import MMNavConfig, MMNavForAction
from ..vla.ring import CELL
from ..vla.sight import feature_dim

_FARTHEST = 10.0


def lessons_of(model: MMNavForAction) -> list[str]:
    """The lessons that a student has before the stages: what it was given needs none."""
    given, panorama = model.pretrained, bool(model.config.panorama_channels)
    measures = "vision_tower" in given and (not panorama or bool(given & {"sight", "sight.reader"}))
    knows = {"sight": measures, "panorama": not panorama or "sight" in given, "reading": "language_model" in given}
    return [name for name, known in knows.items() if not known]


def _drawn_linear(inputs: int, outputs: int, seed: int) -> nn.Linear:
    """A linear layer that depends on a seed alone, whatever was drawn before: so a resumed run has the same one."""
    with torch.random.fork_rng(devices=[]):  # it is drawn on the CPU
        torch.manual_seed(seed)
        return nn.Linear(inputs, outputs)


class Pretraining(nn.Module):
    """A lesson for some parts of a student: ``forward(**batch)`` returns a ``loss``."""

    def __init__(self, model: MMNavForAction, *parts: nn.Module):
        """Takes a student and the parts that learn, of the student or of the lesson's own."""
        super().__init__()
        self.model, self._parts = model, parts

    @contextlib.contextmanager
    def only_parts_learn(self) -> Iterator[None]:
        """Inside, all but the parts that learn need no gradients: DDP refuses parameters that go unused."""
        before = {parameter: parameter.requires_grad for parameter in self.parameters()}
        self.requires_grad_(False)
        for part in self._parts:
            part.requires_grad_(True)
        try:
            yield
        finally:
            for parameter, learns in before.items():
                parameter.requires_grad_(learns)


class DepthPretraining(Pretraining):
    """A vision tower that learns to measure: the least logarithmic depth in each of 4 x 8 parts of every cell.

    A panorama's reader says it, and learns with the tower; a student of tokens has a head for this lesson alone, which
    reads exactly what the language model will see, so that a token knows where in its cell an edge is.
    """

    def __init__(self, model: MMNavForAction, seed: int = 0):
        """Takes the model's tower, if that has not learned before; a head is drawn by a seed."""
        reads = bool(model.config.panorama_channels)
        head = model.sight.reader if reads else _drawn_linear(feature_dim(model.config), CELL[0] * CELL[1], seed)
        tower = () if "vision_tower" in model.pretrained else (model.vision_tower,)
        super().__init__(model, *tower, head)
        self.head = nn.Identity() if reads else head

    def forward(self, pixel_values: torch.Tensor, depth: torch.Tensor) -> ModelOutput:
        """Smooth L1 distance of logarithmic depths.

        Args:
            pixel_values: Normalised images, shape [B, V, 3, H, W].
            depth: Their depth [m], shape [B, V, H, W].
        """
        return ModelOutput(loss=depth_error(self.head(self.model.encode(pixel_values)), depth, self.model.config))


class PanoramaPretraining(Pretraining):
    """A sight that learns, from frames which its tower has encoded, what the experts see."""

    MOVING = 4.0
    """How much more the velocity of a column counts where it moves: few do."""

    def __init__(self, model: MMNavForAction):
        """Takes the model's sight."""
        super().__init__(model, model.sight.estimate)

    def forward(
        self,
        current: torch.Tensor,
        history: torch.Tensor,
        history_mask: torch.Tensor,
        moves: torch.Tensor,
        panorama: torch.Tensor,
        mirrored: torch.Tensor | None = None,
        **_,
    ) -> ModelOutput:
        """Smooth L1 distance of the panorama's encoded depths and of its velocities, added up.

        Args:
            current: As for :meth:`mmnav.vla.MMNavForAction.decode`, like the next three.
            history: See there.
            history_mask: See there.
            moves: See there.
            panorama: What the experts see, shape [B, L, 6].
            mirrored: As for :meth:`mmnav.vla.MMNavForAction.decode`.
        """
        since = moves[:, : history_mask.shape[1]]
        guess = self.model.sight.panorama(current, history, history_mask, since, mirrored).float()
        seen = F.smooth_l1_loss(guess[..., :-2], panorama[..., :-2], beta=0.05)
        velocity = F.smooth_l1_loss(guess[..., -2:], panorama[..., -2:], beta=0.2, reduction="none").mean(-1)
        moving = (panorama[..., -2:].abs().amax(-1) > 0.0).float()
        return ModelOutput(loss=seen + (velocity * (1.0 + self.MOVING * moving)).mean())


def depth_error(read: torch.Tensor, depth: torch.Tensor, config: MMNavConfig) -> torch.Tensor:
    """Smooth L1 distance of what cells tell from the logarithm of the least depth in each of their parts.

    Args:
        read: What they tell, shape [B, V, P, 32].
        depth: Depths [m], shape [B, V, H, W].
        config: The student's.
    """
    grid = tuple(config.current_grid)
    nearest = -F.adaptive_max_pool2d(-depth.flatten(0, 1)[:, None], (grid[0] * CELL[0], grid[1] * CELL[1]))[:, 0]
    target = nearest.clamp(0.05, _FARTHEST).log().unflatten(2, (grid[1], CELL[1])).unflatten(1, (grid[0], CELL[0]))
    target = target.transpose(2, 3).flatten(3).flatten(1, 2)  # [B V, P, 32]
    return F.smooth_l1_loss(read.flatten(0, 1).float(), target, beta=0.1)


class PromptReading(Pretraining):
    """A language model that is asked, at the action query, where the goal of a prompt lies."""

    def __init__(self, model: MMNavForAction, seed: int = 0):
        """Takes the model's language model; the head is drawn by a seed."""
        head = _drawn_linear(model.config.text_config.hidden_size, 4, seed)
        super().__init__(model, model.language_model, model.action_query, head)
        self.head = head

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, goal: torch.Tensor) -> ModelOutput:
        """Squared distance of the goal's direction, its logarithmic distance and its nearness.

        Args:
            input_ids: Prompts, shape [B, S].
            attention_mask: Whether they are no padding, shape [B, S].
            goal: Goals [m], shape [B, 2].
        """
        model = self.model
        text = model.get_input_embeddings()(input_ids)
        query = model.action_query.weight.expand(len(text), 1, -1).to(text.dtype)
        mask = torch.cat([attention_mask, attention_mask.new_ones(len(text), 1)], 1)
        states = model.read_out(torch.cat([text, query], 1), mask, (mask.cumsum(1) - 1).clamp(min=0))
        distance = goal.norm(dim=-1, keepdim=True)
        target = torch.cat([goal / distance.clamp(min=1e-3), (distance + 0.1).log(), 1.0 / (distance + 0.5)], -1)
        guess = self.head(states).float()
        return ModelOutput(loss=F.mse_loss(guess, target))
