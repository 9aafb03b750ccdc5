"""MMNavProcessor: camera images and goals to tensors, with the paper's prompt."""

from __future__ import annotations

import torch
from transformers import BatchFeature, ProcessorMixin

PROMPT = "Go to the position of <x:{x:.2f}, y:{y:.2f}>"
"""The prompt of MM-Nav (arXiv 2510.03142, figure of the pipeline): metres ahead and to the left of the robot, now."""


class MMNavProcessor(ProcessorMixin):
    """An image processor and a tokenizer."""

    def __init__(self, image_processor=None, tokenizer=None, **kwargs):
        super().__init__(image_processor, tokenizer, **kwargs)

    def __call__(
        self,
        images: torch.Tensor | None = None,
        goals: torch.Tensor | None = None,
        text: list[str] | None = None,
    ) -> BatchFeature:
        """Makes what the model takes.

        Args:
            images: Views, planar, shape [..., V, 3, H, W], uint8.
            goals: Goals in the robots' frames (ahead, left) [m], shape [..., 2]; they become :data:`PROMPT`.
            text: Prompts instead of goals, a list.

        Returns:
            ``pixel_values`` of the images' shape; ``input_ids`` and ``attention_mask``, shape [..., S], padded left.
        """
        data = {}
        if images is not None:
            data["pixel_values"] = self.normalize(images)
        lead = (len(text),) if text is not None else None
        if goals is not None:
            lead = tuple(goals.shape[:-1])
            # adding zero turns -0.0 into 0.0
            text = [
                PROMPT.format(x=x + 0.0, y=y + 0.0) for x, y in goals.double().round(decimals=2).reshape(-1, 2).tolist()
            ]
        if text is not None:
            tokens = self.tokenizer(text, padding=True, padding_side="left", return_tensors="pt")
            for name in ("input_ids", "attention_mask"):
                value = tokens[name].view(*lead, -1)
                data[name] = value.to(goals.device) if goals is not None else value
        return BatchFeature(data)

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """Resizes and normalises images [..., 3, H, W], uint8, as the image processor does."""
        made = self.image_processor
        if (
            tuple(images.shape[-2:]) == (made.size["height"], made.size["width"])
            and made.do_rescale
            and made.do_normalize
        ):
            # a batch of the right size already: one pass instead of the image processor's list of images
            mean = torch.tensor(made.image_mean, device=images.device) / made.rescale_factor
            factor = made.rescale_factor / torch.tensor(made.image_std, device=images.device)
            return images.float().sub_(mean[:, None, None]).mul_(factor[:, None, None])
        pixels = made(images.flatten(0, -4), return_tensors="pt", device=images.device)["pixel_values"]
        return pixels.unflatten(0, images.shape[:-3])
