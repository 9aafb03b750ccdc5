"""Terms of the navigation tasks; change a reward in ``rewards.py``, its weight in ``tasks/<name>.py``."""

from . import curriculum, events, observations, rewards, terminations
from .actions import BaseVelocityActionCfg

__all__ = ["BaseVelocityActionCfg", "curriculum", "events", "observations", "rewards", "terminations"]
