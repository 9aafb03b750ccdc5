"""Pretraining: a tower learns to measure, a sight to see what the experts see, a language model to read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F
from transformers.utils import ModelOutput

from ..vla import MMNavForAction
from ..vla.ring import CELL
from ..vla.sight import PanoramaToken, feature_dim

_FARTHEST = 10.0


def _drawn_linear(inputs: int, outputs: int, seed: int) -> nn.Linear:
    """A linear layer that depends on a seed alone, whatever was drawn before: so a resumed run has the same one."""
    with torch.random.fork_rng():
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
    """A vision tower with a head that reads depth from exactly the tokens that the language model will see.

    Every token tells the least logarithmic depth in each of 4 x 8 parts of its own cell of the image; so a token knows
    where in its cell an edge is.
    """

    def __init__(self, model: MMNavForAction, seed: int = 0):
        """Takes the model's tower and what is read of it; where that is no depth, a head for it is drawn by a seed."""
        tells = isinstance(model.sight, PanoramaToken)
        head = nn.Identity() if tells else _drawn_linear(feature_dim(model.config), CELL[0] * CELL[1], seed)
        super().__init__(model, model.vision_tower, model.sight.reader, head)
        self.head, self.grid = head, tuple(model.config.current_grid)

    def forward(self, pixel_values: torch.Tensor, depth: torch.Tensor) -> ModelOutput:
        """Smooth L1 distance of logarithmic depths.

        Args:
            pixel_values: Normalised images, shape [B, V, 3, H, W].
            depth: Their depth [m], shape [B, V, H, W].
        """
        rows, columns = self.grid[0] * CELL[0], self.grid[1] * CELL[1]
        nearest = -F.adaptive_max_pool2d(-depth.flatten(0, 1)[:, None], (rows, columns))[:, 0]
        target = nearest.clamp(0.05, _FARTHEST).log()
        target = target.unflatten(2, (self.grid[1], CELL[1])).unflatten(1, (self.grid[0], CELL[0]))
        target = target.transpose(2, 3).flatten(3).flatten(1, 2)  # [B V, tokens, cell]
        guess = self.head(self.model.encode(pixel_values)).flatten(0, 1).float()
        return ModelOutput(loss=F.smooth_l1_loss(guess, target, beta=0.1))


class PanoramaPretraining(Pretraining):
    """A tower and a sight whose panorama is held against the one that the experts see."""

    MOVING = 4.0
    """How much more the velocity of a column counts where it moves: few do."""

    def __init__(self, model: MMNavForAction):
        """Takes the model's sight, and its tower if that is not frozen."""
        tower = () if model.tower_frozen else (model.vision_tower,)
        super().__init__(model, *tower, model.sight.reader, model.sight.estimate)

    def forward(
        self,
        pixel_values: torch.Tensor,
        history_mask: torch.Tensor,
        moves: torch.Tensor,
        panorama: torch.Tensor,
        mirrored: torch.Tensor | None = None,
        **_,
    ) -> ModelOutput:
        """Smooth L1 distance of encoded depths and of velocities.

        Args:
            pixel_values: Normalised images of the current frame and of the history's, shape [B, 1 + T, V, 3, H, W].
            history_mask: As for :meth:`mmnav.vla.MMNavForAction.decode`.
            moves: Likewise.
            panorama: What the experts see, shape [B, L, 6].
            mirrored: As for :meth:`mmnav.vla.MMNavForAction.decode`.
        """
        model = self.model
        features = model.encode(pixel_values.flatten(0, 1)).unflatten(0, pixel_values.shape[:2])
        since = moves[:, : history_mask.shape[1]]
        guess = model.sight.panorama(features[:, 0], features[:, 1:], history_mask, since, mirrored).float()
        depth = F.smooth_l1_loss(guess[..., :-2], panorama[..., :-2], beta=0.05)
        velocity = F.smooth_l1_loss(guess[..., -2:], panorama[..., -2:], beta=0.2, reduction="none").mean(-1)
        moves = (panorama[..., -2:].abs().amax(-1) > 0.0).float()
        return ModelOutput(loss=depth + (velocity * (1.0 + self.MOVING * moves)).mean())


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
