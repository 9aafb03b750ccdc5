"""Distillation of the experts into one student: offline, then online with balanced capabilities."""
