"""The student: a vision-language-action model for transformers; importing this registers it with the Auto classes."""

from __future__ import annotations

from transformers import AutoConfig, AutoModel, AutoProcessor

from .configuration_mmnav import MMNavConfig
from .modeling_mmnav import MMNavForAction, MMNavOutput, VisualMemory
from .processing_mmnav import PROMPT, MMNavProcessor
from .scales import SCALES, load_student, make_student, save_student

AutoConfig.register(MMNavConfig.model_type, MMNavConfig, exist_ok=True)
AutoModel.register(MMNavConfig, MMNavForAction, exist_ok=True)
AutoProcessor.register(MMNavConfig, MMNavProcessor, exist_ok=True)

__all__ = [
    "PROMPT",
    "SCALES",
    "MMNavConfig",
    "MMNavForAction",
    "MMNavOutput",
    "MMNavProcessor",
    "VisualMemory",
    "load_student",
    "make_student",
    "save_student",
]
