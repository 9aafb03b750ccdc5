"""PPO settings of the experts."""

from __future__ import annotations

from isaaclab.utils import configclass
from isaaclab_rl.rsl_rl import RslRlMLPModelCfg, RslRlOnPolicyRunnerCfg, RslRlPpoAlgorithmCfg


@configclass
class PanoramaModelCfg(RslRlMLPModelCfg):
    """Settings of :class:`mmnav_tasks.agents.models.PanoramaModel`."""

    class_name: str = "mmnav_tasks.agents.models:PanoramaModel"
    channels: tuple[int, ...] = (16, 32)
    """Output channels of the convolutions."""
    kernels: tuple[int, ...] = (16, 4)
    """Their kernels [columns]."""
    strides: tuple[int, ...] = (8, 4)
    """Their strides [columns]."""


@configclass
class ExpertPPOCfg(RslRlOnPolicyRunnerCfg):
    """PPO with the recipe that learned on two CPU cores within minutes."""

    anneal_to: float = 0.2
    """Share of the entropy coefficient and of the desired KL that is left at the end; our runner anneals them."""

    seed = 1
    num_steps_per_env = 24
    max_iterations = 600
    save_interval = 75
    experiment_name = "mmnav"
    obs_groups = {"actor": ["panorama", "state"], "critic": ["scan", "state", "privileged"]}
    actor = PanoramaModelCfg(
        hidden_dims=[128, 64],
        activation="elu",
        distribution_cfg=RslRlMLPModelCfg.GaussianDistributionCfg(init_std=0.6),
    )
    critic = RslRlMLPModelCfg(hidden_dims=[128, 64], activation="elu")
    algorithm = RslRlPpoAlgorithmCfg(
        value_loss_coef=1.0,
        use_clipped_value_loss=True,
        clip_param=0.2,
        entropy_coef=0.010,
        num_learning_epochs=3,
        num_mini_batches=4,
        learning_rate=1e-3,
        schedule="adaptive",
        gamma=0.99,
        lam=0.95,
        desired_kl=0.01,
        max_grad_norm=1.0,
    )
