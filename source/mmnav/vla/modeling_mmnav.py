"""MMNavForAction: four views, a short history and a goal in words; out comes a velocity (MM-Nav, arXiv 2510.03142)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from ..robot import ROBOT
from .configuration_mmnav import MMNavConfig
from .odometry import advance, seen_from
from .readout import last_token_only
from .sight import FrameTokens, PanoramaToken, feature_dim, pool_features

_VELOCITY_DIM = len(ROBOT.max_velocity)
"""Forward [m/s], leftward [m/s] and yaw velocity [rad/s]."""

_TRAIL_UNIT, _TRAIL_END = 3.0, 3.0
"""Places of the trail are told in this unit [m], and none farther than so many of it: as the experts' are."""


@dataclass
class MMNavOutput(ModelOutput):
    """What :meth:`MMNavForAction.forward` returns."""

    loss: torch.Tensor | None = None
    """Smooth L1 distance of the normalised velocities, a scalar; None without labels."""
    velocity: torch.Tensor | None = None
    """Forward [m/s], leftward [m/s] and yaw velocity [rad/s], shape [B, n, 3]."""


class MMNavPreTrainedModel(PreTrainedModel):
    """What transformers needs to know of the model."""

    config_class = MMNavConfig
    main_input_name = "pixel_values"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, MMNavForAction):
            init.zeros_(module.action_mean)  # unlike torch's, these leave alone what was loaded
            init.ones_(module.action_std)
        elif isinstance(module, PanoramaToken):  # many layers without a norm: transformers' small weights would fade
            for layer in (part for part in module.modules() if isinstance(part, (nn.Conv1d, nn.Linear))):
                init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            init.normal_(module.estimate[-1].weight, std=0.03)  # at first it is about what the ring shows


class MMNavForAction(MMNavPreTrainedModel):
    """A vision tower, a sight that turns its features into tokens, a language model and a velocity head.

    The sequence is ``text | history | now | query``; see :class:`mmnav.vla.sight.FrameTokens`. The query is last, so
    that the language model's causal mask is all that is needed, and the head reads its hidden state there. With
    ``config.panorama_channels``, one token stands for all frames; see :class:`mmnav.vla.sight.PanoramaToken`.
    """

    def __init__(self, config: MMNavConfig):
        super().__init__(config)
        self.vision_tower = AutoModel.from_config(config.vision_config)
        self.language_model = AutoModel.from_config(config.text_config)
        width = config.text_config.hidden_size
        self.sight = PanoramaToken(config) if config.panorama_channels else FrameTokens(config)
        self.action_query = nn.Embedding(1, width)
        self.command_embedding = nn.Linear(_VELOCITY_DIM, width) if config.command_input else None
        self.trail_embedding = None
        if config.trail:
            self.trail_embedding = nn.Sequential(nn.Linear(2 * len(config.trail), 64), nn.GELU(), nn.Linear(64, width))
        self.action_head = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, config.head_hidden),
            nn.GELU(),
            nn.Linear(config.head_hidden, _VELOCITY_DIM),
        )
        self.register_buffer("action_mean", torch.zeros(_VELOCITY_DIM))
        self.register_buffer("action_std", torch.ones(_VELOCITY_DIM))
        self._statistics_frozen = False
        self.pretrained: frozenset[str] = frozenset()
        """Which of ``vision_tower``, ``sight`` and ``language_model`` were given with weights that have learned."""
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The language model's table of token embeddings."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces it."""
        self.language_model.set_input_embeddings(value)

    def set_action_statistics(self, velocity: torch.Tensor) -> None:
        """Takes the normalisation of the head from labels, which the checkpoint keeps.

        Args:
            velocity: Expert velocities [m/s, m/s, rad/s], shape [N, 3].
        """
        self.action_mean.copy_(velocity.mean(0))
        self.action_std.copy_(velocity.std(0).clamp(min=1e-3))

    def freeze_tower(self, frozen: bool = True, statistics: bool = True) -> None:
        """Stops or lets the vision tower learn, and what the sight reads of it: all that :meth:`encode` needs.

        Args:
            frozen: Whether its weights stay as they are.
            statistics: Whether its batch norms' running statistics do.
        """
        for part in (self.vision_tower, self.sight.reader):
            part.requires_grad_(not frozen)
        self._statistics_frozen = statistics
        self.train(self.training)

    def train(self, mode: bool = True) -> MMNavForAction:
        """Sets the training mode; a frozen tower keeps to evaluation."""
        super().train(mode)
        if self._statistics_frozen:
            self.vision_tower.eval()
        return self

    def encode(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Encodes frames once; all that the model ever needs of a frame follows from the result.

        Args:
            pixel_values: Normalised images, shape [N, V, 3, H, W].

        Returns:
            Features on the current frame's grid, shape [N, V, rows * columns, F].
        """
        count = pixel_values.shape[:2]
        images = pixel_values.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features = self.vision_tower(images).last_hidden_state
        if features.dim() == 3:  # a transformer's patches, behind its class token and registers if it has them
            rows, columns = patch_grid(self.config)
            features = features[:, -rows * columns :].transpose(1, 2).unflatten(2, (rows, columns))
        pooled = F.adaptive_avg_pool2d(features, tuple(self.config.current_grid))
        return self.sight.reader(pooled.flatten(2).transpose(1, 2)).unflatten(0, count).contiguous()

    def decode(
        self,
        current: torch.Tensor,
        history: torch.Tensor,
        history_mask: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        moves: torch.Tensor | None = None,
        command: torch.Tensor | None = None,
        mirrored: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Decides on a velocity.

        Args:
            current: Features of the current frames, shape [B, V, 16, F].
            history: Features of the frames ``config.history`` steps ago, pooled, shape [B, T, V, 4, F].
            history_mask: Whether there was such a frame, shape [B, T].
            input_ids: Tokens of the prompts, padded on the left, shape [B, S].
            attention_mask: Whether they are no padding, shape [B, S].
            moves: Where the base was ``config.look_back`` steps ago, seen from where it is now: forward and leftward
                place [m] and heading [rad], shape [B, H, 3]; where it started if it had not yet. Only a model with a
                panorama or a trail looks at them.
            command: The velocity that was commanded one step ago [m/s, m/s, rad/s], shape [B, 3]; 0 before a start.
                Only a model with ``command_input`` looks at it.
            mirrored: Whether left and right are to be exchanged in what was seen, as they are in the prompts, the
                moves and the command already, shape [B]; only if ``config.can_mirror``.

        Returns:
            Normalised velocities, shape [B, 3].

        Raises:
            ValueError: If the model needs ``moves`` or ``command`` and has none, or cannot mirror and is to.
        """
        if moves is None and (self.config.panorama_channels or self.trail_embedding is not None):
            raise ValueError("moves is None; this student needs to know where it was, as mmnav.vla.odometry tells it.")
        if command is None and self.command_embedding is not None:
            raise ValueError("command is None; this student needs the velocity that it was told last, 0 at a start.")
        if mirrored is not None and not self.config.can_mirror:
            raise ValueError("mirrored is given; this student has no panorama, or views to one side alone.")
        query = self.action_query(torch.zeros(len(current), 1, dtype=torch.long, device=current.device))
        if self.command_embedding is not None:
            query = query + self.command_embedding((command - self.action_mean) / self.action_std)[:, None]
        times = len(self.config.history)
        if self.trail_embedding is not None:
            trail = (moves[:, times:, :2] / _TRAIL_UNIT).clamp(-_TRAIL_END, _TRAIL_END)
            query = query + self.trail_embedding(trail.flatten(1))[:, None]
        text = self.get_input_embeddings()(input_ids)
        since = None if moves is None else moves[:, :times]
        frames, there = self.sight(current, history, history_mask, since, mirrored)
        embeddings = torch.cat([text.to(frames.dtype), frames, query.to(frames.dtype)], 1)
        mask = torch.cat([attention_mask.bool(), there, there.new_ones(len(query), 1)], 1)
        positions = (mask.long().cumsum(1) - 1).clamp(min=0)
        return self.action_head(self.read_out(embeddings, mask, positions)).float()

    def read_out(self, embeddings: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Runs the language model for the state of its last token.

        Args:
            embeddings: Of a sequence, shape [B, S, D].
            mask: Whether a token is no padding, shape [B, S].
            positions: Of the tokens, shape [B, S].

        Returns:
            The last token's state, shape [B, D].
        """
        with last_token_only(self.language_model):
            states = self.language_model(
                inputs_embeds=embeddings, attention_mask=mask.long(), position_ids=positions, use_cache=False
            ).last_hidden_state
        return states[:, -1]

    def denormalize(self, action: torch.Tensor) -> torch.Tensor:
        """Velocities [m/s, m/s, rad/s] of normalised ones."""
        return action * self.action_std + self.action_mean

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        pixel_values: torch.Tensor | None = None,
        features: torch.Tensor | None = None,
        frame_mask: torch.Tensor | None = None,
        current: torch.Tensor | None = None,
        history: torch.Tensor | None = None,
        history_mask: torch.Tensor | None = None,
        moves: torch.Tensor | None = None,
        command: torch.Tensor | None = None,
        mirrored: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **_,
    ) -> MMNavOutput:
        """Velocities for the last n frames of every chunk, each frame encoded once whatever windows it is in.

        Give ``pixel_values``, or ``features`` that :meth:`encode` made of them, or for n = 1 the windows themselves
        (``current``, ``history``, ``history_mask`` as in :meth:`decode`).

        Args:
            input_ids: Tokens of the prompts, shape [B, n, S].
            attention_mask: Whether they are no padding, shape [B, n, S].
            pixel_values: Consecutive frames, shape [B, L, V, 3, H, W] with n <= L.
            features: The same frames, encoded, shape [B, L, V, 16, F].
            frame_mask: Whether a frame belongs to the episode, shape [B, L]; all do if None.
            current: Encoded current frames, shape [B, V, 16, F].
            history: Encoded and pooled history frames, shape [B, T, V, 4, F].
            history_mask: Whether there are such frames, shape [B, T].
            moves: Where the base was; as in :meth:`decode`, shape [B, n, H, 3].
            command: The velocity that was commanded one step before each target; as in :meth:`decode`, shape [B, n, 3].
            mirrored: Whether left and right are to be exchanged in what was seen; as in :meth:`decode`, shape [B, n].
            labels: Velocities to imitate [m/s, m/s, rad/s], shape [B, n, 3].

        Returns:
            Velocities and, with labels, the loss.
        """
        batch, targets = input_ids.shape[:2]
        if current is None:
            if features is None:
                features = self.encode(pixel_values.flatten(0, 1)).unflatten(0, (batch, -1))
            current, history, history_mask = self._windows(features, frame_mask, targets)
        text = (input_ids.flatten(0, 1), attention_mask.flatten(0, 1))
        told = [None if value is None else value.flatten(0, 1) for value in (moves, command, mirrored)]
        action = self.decode(current, history, history_mask, *text, *told).unflatten(0, (batch, targets))
        loss = None
        if labels is not None:
            loss = F.smooth_l1_loss(action, (labels.float() - self.action_mean) / self.action_std, beta=0.5)
        return MMNavOutput(loss=loss, velocity=self.denormalize(action))

    def _windows(self, features: torch.Tensor, mask: torch.Tensor | None, targets: int) -> tuple[torch.Tensor, ...]:
        """The windows of a chunk's last frames: features [B, L, V, 16, F] to what :meth:`decode` takes, B * n rows."""
        batch, length = features.shape[:2]
        if mask is None:
            mask = torch.ones(batch, length, dtype=torch.bool, device=features.device)
        now = torch.arange(length - targets, length, device=features.device)
        ago = torch.tensor(self.config.history, dtype=torch.long, device=features.device)
        frame = now[:, None] - ago
        there = (frame >= 0) & mask[:, frame.clamp(min=0)].bool()
        past = pool_features(features, self.config)[:, frame.clamp(min=0)]
        return features[:, now].flatten(0, 1), past.flatten(0, 1), there.flatten(0, 1)

    def new_memory(self, batch: int) -> VisualMemory:
        """An empty history for robots that :meth:`act` will drive."""
        return VisualMemory(self.config, batch, self.action_mean.device)

    @torch.inference_mode()
    def act(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        memory: VisualMemory,
        robots: torch.Tensor | None = None,
        command: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One control step: encodes what the robots see now, decides, and remembers.

        Args:
            pixel_values: Normalised images, shape [B, V, 3, H, W].
            input_ids: Tokens of the prompts, padded on the left, shape [B, S].
            attention_mask: Whether they are no padding, shape [B, S].
            memory: What they saw before.
            robots: Rows of the memory that the B robots have; all if None.
            command: Velocities that they were told one step ago [m/s, m/s, rad/s], shape [B, 3], if somebody else told
                them; what this method returned then if None.

        Returns:
            Velocities within the robot's limits [m/s, m/s, rad/s], shape [B, 3].
        """
        robots = torch.arange(len(pixel_values), device=pixel_values.device) if robots is None else robots
        features = self.encode(pixel_values)
        history, mask = memory.window(robots)
        told = memory.move(robots, command)
        velocity = self.denormalize(self.decode(features, history, mask, input_ids, attention_mask, *told))
        velocity = velocity.clamp(velocity.new_tensor(ROBOT.min_velocity), velocity.new_tensor(ROBOT.max_velocity))
        memory.append(robots, pool_features(features, self.config), velocity)
        return velocity


class VisualMemory:
    """What B robots remember: their last frames, encoded once, where they were, and what they were told last."""

    def __init__(self, config: MMNavConfig, batch: int, device: torch.device | str):
        """Starts empty."""
        ring, tokens = max(config.reach_back, 1), config.history_grid[0] * config.history_grid[1]
        self._step = config.control_step
        self._ago, self._back = (
            torch.tensor(steps, dtype=torch.long, device=device) for steps in (config.history, config.look_back)
        )
        self._frames = torch.zeros(batch, ring, config.view_count, tokens, feature_dim(config), device=device)
        self._poses = torch.zeros(batch, max(config.look_back, default=0) + 1, 3, device=device)
        self._count = torch.zeros(batch, dtype=torch.long, device=device)
        self._pose, self._velocity, self.command = (torch.zeros(batch, 3, device=device) for _ in range(3))

    def reset(self, robots: torch.Tensor | slice = slice(None)) -> None:
        """Forgets everything of some robots: a new episode begins."""
        for what in (self._count, self._pose, self._velocity, self.command):
            what[robots] = 0

    def move(self, robots: torch.Tensor, command: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Moves some robots as they were told since their last frames: once a frame, and then :meth:`append`.

        Args:
            robots: Their rows, N.
            command: What they were told [m/s, m/s, rad/s], shape [N, 3], if somebody else told them.

        Returns:
            Where they were, and what they were told, as :meth:`MMNavForAction.decode` takes it.
        """
        count = self._count[robots]
        told = (self.command[robots] if command is None else command) * (count > 0)[:, None]
        pose, self._velocity[robots] = advance(self._pose[robots], self._velocity[robots], told, self._step)
        self._pose[robots] = pose
        self._poses[robots, count % self._poses.shape[1]] = pose
        past = (count[:, None] - self._back).clamp(min=0) % self._poses.shape[1]
        before = self._poses[robots[:, None], past]
        return seen_from(pose[:, None].expand_as(before), before), told

    def window(self, robots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The history of some robots, shape [N, T, V, 4, F], and whether there is one, shape [N, T]."""
        frame = self._count[robots, None] - self._ago
        return self._frames[robots[:, None], frame % self._frames.shape[1]], frame >= 0

    def append(self, robots: torch.Tensor, features: torch.Tensor, command: torch.Tensor) -> None:
        """Adds the current frames of some robots, shape [N, V, 4, F], and what they are told, shape [N, 3]."""
        self._frames[robots, self._count[robots] % self._frames.shape[1]] = features.float()
        self._count[robots] += 1
        self.command[robots] = command


def patch_grid(config: MMNavConfig) -> tuple[int, int]:
    """Rows and columns of the patches of a vision transformer."""
    return tuple(size // config.vision_config.patch_size for size in config.image_size)
