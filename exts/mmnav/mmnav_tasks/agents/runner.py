"""ExpertRunner: rsl_rl's PPO with held-out evaluation, safe checkpoints and exact resumption."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rsl_rl.runners import OnPolicyRunner

from mmnav.errors import UserError
from mmnav.evaluate import summarize

from ..layouts import LAYOUT_SEEDS
from ..rollout import evaluation_layouts, run_episodes, without_curriculum
from .expert import Expert, expert_config, save_expert

FORMAT = 1
"""Version of the checkpoint's layout."""

RANK_SEEDS = 1000
"""Rank r of a distributed run has the run's seed plus r times this."""

VALIDATION_SEED = 999
"""Evaluation seed that picks the best checkpoint; reported evaluations use other seeds."""


@dataclass
class Progress:
    """How far a run is: what the terminal shows after every iteration."""

    iteration: int
    """Iterations done."""
    total: int
    """Iterations to do."""
    steps_per_second: float
    """Env-steps a second of the last iteration, all processes together."""
    difficulty: float
    """Difficulty of the curriculum, in [0, 1]."""
    reward: float
    """Mean return of the last 100 episodes."""
    validation: dict | None = None
    """Row of the last evaluation on held-out layouts, at full difficulty."""


class ExpertRunner(OnPolicyRunner):
    """Trains as rsl_rl does, in stretches between evaluations.

    The folder of a run holds ``model_<iteration>.pt`` (the last two: everything a resumed run needs, only tensors and
    plain data inside), ``best/`` (the expert with the highest success so far) and TensorBoard's events.
    """

    def __init__(self, env, train_cfg: dict, log_dir: str | None, device: str, task: str):
        self.task = task
        self.best_success = -1.0
        self.seconds = 0.0
        """Training time so far, evaluations included [s]."""
        with contextlib.redirect_stdout(io.StringIO()):
            super().__init__(env, train_cfg, log_dir, device)

    def train(
        self,
        iterations: int,
        on_progress: Callable[[Progress], None],
        random_start: bool = True,
    ) -> None:
        """Trains until ``iterations`` are done, the resumed ones among them.

        After every ``save_interval`` of them it evaluates the expert and writes a checkpoint.

        Args:
            iterations: Total number of PPO iterations.
            on_progress: Called on the main process after every iteration and every evaluation.
            random_start: Whether first episodes start at random ages, so that envs do not end together.
        """
        progress = Progress(self.current_learning_iteration, iterations, 0.0, 0.0, 0.0)
        self._tell_iterations(progress, on_progress)
        while self.current_learning_iteration < iterations:
            started, done = time.monotonic(), self.current_learning_iteration
            self._anneal(done / iterations)
            # rsl_rl's learn ends with a checkpoint and on the number of its last iteration; ours comes after evaluation
            self.save = lambda *args, **kwargs: None
            try:
                self.learn(min(self.cfg["save_interval"], iterations - done), init_at_random_ep_len=random_start)
            except KeyboardInterrupt:
                del self.save
                self.current_learning_iteration = max(progress.iteration, done)
                self.seconds += time.monotonic() - started
                self._keep_checkpoint()
                raise
            del self.save
            self.current_learning_iteration += 1
            random_start = False
            progress.validation = self.validate()
            self.seconds += time.monotonic() - started
            if self.is_main:
                self._keep_best(progress.validation)
                self._keep_checkpoint()
                on_progress(progress)
            self._restart()

    def _anneal(self, share: float) -> None:
        """Lets exploration and step size shrink linearly as the run goes on.

        Args:
            share: Share of the run that is done, in [0, 1].
        """
        left = 1.0 - (1.0 - self.cfg["anneal_to"]) * share
        self.alg.entropy_coef = left * self.cfg["algorithm"]["entropy_coef"]
        self.alg.desired_kl = left * self.cfg["algorithm"]["desired_kl"]

    @property
    def is_main(self) -> bool:
        """Whether this is the only process or the first of several."""
        return not self.is_distributed or self.gpu_global_rank == 0

    def validate(self) -> dict:
        """Evaluates the mean action on held-out layouts, one for each env; random states are as before afterwards."""
        env = self.env.unwrapped
        states = _random_states()
        self.alg.eval_mode()
        policy = Expert(self.alg.get_policy(), {})
        episodes = run_episodes(env, policy, evaluation_layouts(VALIDATION_SEED, env.num_envs), VALIDATION_SEED)
        _set_random_states(states)
        return summarize(episodes, policy="expert", task=self.task)

    def _restart(self) -> None:
        """Starts new episodes in all envs."""
        env = self.env.unwrapped
        with torch.inference_mode(), without_curriculum(env):
            env.reset()

    def save(self, path: str, infos: dict | None = None) -> None:
        """Writes a checkpoint to a temporary name, flushes it to disk and renames it."""
        env = self.env.unwrapped
        state = {
            **self.alg.save(),
            "format": FORMAT,
            "task": self.task,
            "iter": self.current_learning_iteration,
            "infos": infos,
            "random": _random_states(),
            "curriculum": {
                name: cfg.func.state_dict()
                for name, cfg in zip(
                    env.curriculum_manager.active_terms, env.curriculum_manager._term_cfgs, strict=True
                )
            },
            "next_layout": env.world.layouts.next_seed if env.world.layouts.is_endless else 0,
            "common_step_counter": env.common_step_counter,
            "best_success": self.best_success,
            "seconds": self.seconds,
            "steps": self.logger.tot_timesteps,
        }
        folder = os.path.dirname(path)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".checkpoint.")
        with os.fdopen(descriptor, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    def load(self, path: str, load_cfg=None, strict: bool = True, map_location: str | None = None) -> dict | None:
        """Goes on where a checkpoint was written, with the same weights, optimiser, randomness and curriculum.

        Raises:
            UserError: If it is broken, or of another task, network or format.
        """
        state = read_checkpoint(path, map_location)
        if state["task"] != self.task:
            raise UserError(f"--checkpoint {path}: trained on {state['task']}, not on {self.task}.")
        try:
            self.alg.load(state, load_cfg, strict)
        except RuntimeError as error:
            raise UserError(f"--checkpoint {path}: the network has another shape ({str(error)[:200]}...).") from error
        env = self.env.unwrapped
        self.current_learning_iteration = state["iter"]
        self.best_success, self.seconds = state["best_success"], state["seconds"]
        self.logger.tot_timesteps = state["steps"]
        env.common_step_counter = state["common_step_counter"]
        manager = env.curriculum_manager
        for name, cfg in zip(manager.active_terms, manager._term_cfgs, strict=True):
            cfg.func.load_state_dict(state["curriculum"][name])
        # the other ranks of a distributed run go on with layouts and randomness of their own
        rank = self.gpu_global_rank if self.is_distributed else 0
        if env.world.layouts.is_endless:
            env.world.layouts.next_seed = state["next_layout"] + rank * RANK_SEEDS * LAYOUT_SEEDS
        _set_random_states(state["random"])
        if rank:
            torch.manual_seed(torch.initial_seed() + rank * RANK_SEEDS + state["iter"])
        self._restart()
        return state["infos"]

    def _keep_best(self, validation: dict) -> None:
        """Logs an evaluation and keeps the expert if it is the best so far."""
        writer, it = self.logger.writer, self.current_learning_iteration
        for name in ("SR", "CR", "TO", "SPL"):
            writer.add_scalar(f"Validation/{name}", validation[name], it)
        writer.add_scalar("Validation/minutes", self.seconds / 60.0, it)
        if validation["SR"] <= self.best_success:
            return
        self.best_success = validation["SR"]
        training = {
            "seed": self.cfg["seed"],
            "iteration": it,
            "env_steps": self.logger.tot_timesteps,
            "seconds": round(self.seconds, 1),
            "validation": validation,
        }
        config = expert_config(self.task, self.cfg, self.env.get_observations(), training)
        save_expert(Path(self.logger.log_dir) / "best", self.alg.get_policy(), config)

    def _keep_checkpoint(self) -> None:
        """Writes a checkpoint and drops all but the last two."""
        if not self.is_main:
            return
        path = Path(self.logger.log_dir) / f"model_{self.current_learning_iteration}.pt"
        self.save(str(path))
        for old in sorted(path.parent.glob("model_*.pt"), key=_iteration)[:-2]:
            old.unlink()

    def _tell_iterations(self, progress: Progress, on_progress: Callable[[Progress], None]) -> None:
        """Has rsl_rl's logger tell our progress instead of printing its own, and keep one writer for all stretches."""
        logger = self.logger
        log, open_writer = logger.log, logger.init_logging_writer

        def quiet_log(**values) -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                log(**values)
            progress.iteration = values["it"] + 1
            steps = self.cfg["num_steps_per_env"] * self.env.num_envs * self.gpu_world_size
            progress.steps_per_second = steps / (values["collect_time"] + values["learn_time"])
            progress.difficulty = self.env.unwrapped.world.layouts.difficulty
            progress.reward = float(np.mean(logger.rewbuffer)) if logger.rewbuffer else 0.0
            if self.is_main:
                on_progress(progress)

        def open_once() -> None:
            if logger.writer is None:
                with contextlib.redirect_stdout(io.StringIO()):
                    open_writer()

        logger.log, logger.init_logging_writer, logger.stop_logging_writer = quiet_log, open_once, lambda: None

    def _configure_multi_gpu(self) -> None:
        """Joins the process group: NCCL on GPUs as rsl_rl does, gloo on CPUs."""
        if torch.device(self.device).type != "cpu":
            super()._configure_multi_gpu()
            return
        self.gpu_world_size = int(os.getenv("WORLD_SIZE", "1"))
        self.is_distributed = self.gpu_world_size > 1
        self.gpu_local_rank, self.gpu_global_rank = int(os.getenv("LOCAL_RANK", "0")), int(os.getenv("RANK", "0"))
        self.cfg["multi_gpu"] = None
        if self.is_distributed:
            self.cfg["multi_gpu"] = {
                "global_rank": self.gpu_global_rank,
                "local_rank": self.gpu_local_rank,
                "world_size": self.gpu_world_size,
            }
            torch.distributed.init_process_group("gloo", rank=self.gpu_global_rank, world_size=self.gpu_world_size)


def read_checkpoint(path: str | os.PathLike, map_location: str | None = None) -> dict:
    """Reads a checkpoint without unpickling anything but tensors and plain data.

    Raises:
        UserError: If there is none, or it is broken or of another format.
    """
    try:
        state = torch.load(path, weights_only=True, map_location=map_location)
    except FileNotFoundError:
        raise UserError(f"--checkpoint {path}: there is no such file.") from None
    except Exception as error:
        raise UserError(f"--checkpoint {path}: cannot be read ({str(error).splitlines()[0]}).") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"--checkpoint {path}: no checkpoint of mmnav's train_expert.py, format {FORMAT}.")
    return state


def find_checkpoint(word: str, runs: Path) -> Path:
    """The checkpoint that ``latest``, ``best`` or a path stands for.

    Args:
        word: ``latest``: the newest checkpoint of the newest run; ``best``: that of the run with the highest success;
            or a file, or a run's folder.
        runs: Folder of the task's runs.

    Raises:
        UserError: If there is none.
    """
    newest = lambda folder: sorted(folder.glob("model_*.pt"), key=_iteration)[-1:]  # noqa: E731
    if word not in ("latest", "best"):
        path = Path(word)
        found = newest(path) if path.is_dir() else [path]
    else:
        folders = [folder for folder in sorted(runs.glob("*")) if newest(folder)]
        if word == "best":
            folders.sort(key=lambda folder: read_checkpoint(newest(folder)[0], "cpu")["best_success"])
        found = newest(folders[-1]) if folders else []
    if not found or not found[0].is_file():
        raise UserError(f"--checkpoint {word}: no checkpoint found{'' if Path(word).exists() else f' in {runs}'}.")
    return found[0]


def _iteration(path: Path) -> int:
    return int(re.sub(r"\D", "", path.stem) or 0)


def _random_states() -> dict:
    """States of the generators that training draws from; layouts have their own seeds."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_random_states(states: dict) -> None:
    torch.set_rng_state(states["cpu"].cpu())
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
