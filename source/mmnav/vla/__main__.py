"""The scales in figures: ``python -m mmnav.vla``; nothing is allocated, models are built on the meta device."""

from __future__ import annotations

import argparse

import torch
from rich.console import Console
from rich.table import Table

from ..errors import run_main
from .configuration_mmnav import MMNavConfig
from .modeling_mmnav import MMNavForAction
from .scales import SCALES

GPUS = (1, 8, 64)

_TRAINED = 4 + 4 + 8
"""Bytes for each parameter that learns in mixed precision: fp32 weight, fp32 gradient and AdamW's two moments."""
_COPY = 2
"""Bytes for each parameter's bf16 copy."""


def parameter_counts(config: MMNavConfig) -> dict[str, int]:
    """Parameters of a student's parts, without allocating any of them."""
    with torch.device("meta"):
        model = MMNavForAction(config)
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    parts = {"tower": count(model.vision_tower), "language": count(model.language_model)}
    return {**parts, "rest": count(model) - sum(parts.values()), "all": count(model)}


def state_gigabytes(parameters: int, gpus: int) -> float:
    """Memory for weights, gradients and optimiser on each GPU when all parameters learn, fully sharded [GB].

    Activations come on top; they depend on the batch and on gradient checkpointing.
    """
    return parameters * (_TRAINED + _COPY) / gpus / 1e9


def main() -> None:
    """Prints the table."""
    argparse.ArgumentParser(prog="python -m mmnav.vla", description=__doc__).parse_args()
    table = Table(title="students by scale; small as it is with nano's language model", title_justify="left")
    for column in ("scale", "tower [M]", "language [M]", "rest [M]", "all [M]", "tokens"):
        table.add_column(column, justify="left" if column == "scale" else "right")
    for gpus in GPUS:
        table.add_column(f"GB on each of {gpus}", justify="right")
    for name, scale in SCALES.items():
        config = MMNavConfig(vision_config=scale.vision(), text_config=scale.language(), **scale.student)
        parts = parameter_counts(config)
        now, past = (rows * columns for rows, columns in (config.current_grid, config.history_grid))
        frames = 1 if config.panorama_channels else config.view_count * (1 + now + len(config.history) * (1 + past))
        millions = [f"{parts[part] / 1e6:.2f}" for part in ("tower", "language", "rest", "all")]
        memory = [f"{state_gigabytes(parts['all'], gpus):.2f}" for gpus in GPUS]
        table.add_row(name, *millions, f"{frames} + 1 + text", *memory)
    Console(width=140).print(table)


if __name__ == "__main__":
    run_main(main)
