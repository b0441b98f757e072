"""Distilled students: methods side by side, temperature, alpha."""
