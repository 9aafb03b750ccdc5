"""MMNavConfig: what a student is made of, and the cameras it was made for."""

from __future__ import annotations

from dataclasses import replace

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.auto import CONFIG_MAPPING

from ..camera import RigCfg, fisheye_rig
from ..errors import check_fields
from ..robot import VIEWS


@strict
class MMNavConfig(PreTrainedConfig):
    """A vision tower, a language model and what joins them (MM-Nav, arXiv 2510.03142).

    Any tower and language model that transformers knows will do; the defaults are SigLIP's and Qwen2's.
    """

    model_type = "mmnav"
    sub_configs = {"text_config": AutoConfig, "vision_config": AutoConfig}

    vision_config: dict | PreTrainedConfig | None = None
    """The vision tower."""
    text_config: dict | PreTrainedConfig | None = None
    """The language model."""
    image_size: list[int] | tuple[int, ...] = (224, 224)
    """Height and width of every view [px]."""
    field_of_view: list[float] | tuple[float, ...] = (130.0, 130.0)
    """Field of every fisheye down its middle column and across its middle row [degrees]."""
    samples: int = 2
    """Rays a pixel where a simulator renders the views: 1, 2 or 4."""
    history: list[int] | tuple[int, ...] = (8, 7, 6, 5, 4, 3, 2, 1)
    """How many control steps ago the history's frames are, the oldest first."""
    current_grid: list[int] | tuple[int, ...] = (4, 4)
    """Rows and columns of tokens of each view of the current frame: 16 tokens in the paper."""
    history_grid: list[int] | tuple[int, ...] = (2, 2)
    """Rows and columns of tokens of each view of a history frame: 4 tokens in the paper."""
    view_count: int = len(VIEWS)
    """Views, in the order of :data:`mmnav.robot.VIEWS`; 1 is a student that sees what is in front only."""
    head_hidden: int = 256
    """Width of the velocity head's hidden layer."""
    command_input: bool = False
    """Whether the action query also tells the velocity that was commanded one step ago. The paper's does not."""
    trail: list[int] | tuple[int, ...] = ()
    """How many control steps ago the places are that the action query tells besides, by dead reckoning. The paper's
    student has none."""
    panorama_channels: int = 0
    """Channels of the panorama that stands for all frames; 0 for tokens of every frame, as in the paper."""
    control_step: float = 0.1
    """Duration of a control step [s]."""

    def __post_init__(self, **kwargs):
        """Builds the two inner configurations and checks what can be wrong.

        Raises:
            ValueError: If a field does not fit; the message names it, its value and what would be right.
        """
        for name, default in (("vision_config", "siglip_vision_model"), ("text_config", "qwen2")):
            value = getattr(self, name)
            if value is None or isinstance(value, dict):
                value = dict(value or {})
                setattr(self, name, CONFIG_MAPPING[value.pop("model_type", default)](**value))
        whole = ("image_size", "current_grid", "history_grid")
        is_pair = lambda value: _are(value, int, float) and len(value) == 2 and min(value) > 0  # noqa: E731
        are_steps = lambda value: _are(value, int) and min(value, default=1) >= 1  # noqa: E731
        fall = lambda value: are_steps(value) and list(value) == sorted(set(value), reverse=True)  # noqa: E731
        check_fields(self, is_pair, "be two positive numbers (down, across)", *whole, "field_of_view")
        check_fields(self, lambda value: _are(value, int), "be whole numbers", *whole)
        check_fields(self, are_steps, "be a list of whole numbers, 1 step ago or earlier", "trail")
        check_fields(self, fall, "be a list of whole numbers that fall, and end at 1 step ago or earlier", "history")
        divides = lambda value: not any(a % b for a, b in zip(self.current_grid, value, strict=True))  # noqa: E731
        check_fields(self, divides, f"divide current_grid, {self.current_grid}", "history_grid")
        is_count = lambda value: value in range(1, len(VIEWS) + 1)  # noqa: E731
        check_fields(self, is_count, f"lie between 1 and {len(VIEWS)}", "view_count")
        check_fields(self, lambda value: isinstance(value, bool), "be true or false", "command_input")
        check_fields(self, lambda value: _are([value], int) and value >= 0, "be 0 or more", "panorama_channels")
        check_fields(self, lambda value: _are([value], int) and value >= 1, "be at least 1", "head_hidden")
        check_fields(self, lambda value: _are([value], int, float) and value > 0.0, "be positive", "control_step")
        if self.panorama_channels:
            equals = lambda value: list(value) == list(self.current_grid)  # noqa: E731
            check_fields(self, equals, f"be current_grid, {self.current_grid}, for a panorama", "history_grid")
            check_fields(self, lambda value: value[1] >= 90.0, "span 90 degrees for a panorama", "field_of_view")
        side, shape = getattr(self.vision_config, "image_size", None), list(self.image_size)
        has_places = hasattr(self.vision_config, "patch_size") and not hasattr(self.vision_config, "hidden_sizes")
        if has_places and isinstance(side, int) and shape != [side, side]:  # convolutions take any size
            raise ValueError(f"MMNavConfig.image_size is {shape}; its vision tower takes {[side, side]}.")
        try:
            self.rig  # noqa: B018  complains of lenses and rays that no simulator could render
        except ValueError as error:
            raise ValueError(f"MMNavConfig's cameras: {error}") from error
        super().__post_init__(**kwargs)

    @property
    def rig(self) -> RigCfg:
        """The cameras that a student was made for."""
        (height, width), (down, across) = self.image_size, self.field_of_view
        rig = fisheye_rig(width, height, across, down, self.samples)
        return replace(rig, cameras=rig.cameras[: self.view_count])

    @property
    def can_mirror(self) -> bool:
        """Whether left and right can be exchanged: only in a panorama, and views to both sides or to neither."""
        return self.panorama_channels > 0 and self.view_count in (1, len(VIEWS))

    @property
    def reach_back(self) -> int:
        """How many frames before the current one a window reaches back."""
        return max(self.history, default=0)

    @property
    def look_back(self) -> list[int]:
        """How many control steps ago the poses are that a student is told: the history's, and then the trail's."""
        return [*self.history, *self.trail]


def _are(values: object, *kinds: type) -> bool:
    """Whether something is a list or a tuple of such numbers."""
    numbers = isinstance(values, (list, tuple)) and all(isinstance(value, kinds) for value in values)
    return numbers and not any(isinstance(value, bool) for value in values)
