"""Agents of the tasks: networks and PPO settings."""
