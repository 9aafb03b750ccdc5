"""One file a task; what they share is in ``navigation.py``."""
