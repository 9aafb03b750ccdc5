"""The navigation tasks, registered with Gymnasium when this package is imported.

Registration names modules by strings, so that listing the tasks imports no simulator.
"""

import gymnasium as gym

TASKS = ("Reach", "Squeeze", "Avoid", "Mixed")
"""Short names; the Gymnasium id of Reach is ``Mmnav-Reach``."""

for _task in (*TASKS, "Distill"):
    gym.register(
        id=f"Mmnav-{_task}",
        entry_point=f"{__name__}.env:NavigationEnv",
        disable_env_checker=True,
        kwargs={
            "env_cfg_entry_point": f"{__name__}.tasks.{_task.lower()}:{_task}EnvCfg",
            "rsl_rl_cfg_entry_point": f"{__name__}.agents.rsl_rl_ppo_cfg:ExpertPPOCfg",
            "default_agent": "rsl_rl",
        },
    )
