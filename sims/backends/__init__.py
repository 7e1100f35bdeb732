"""Simulators that run what the equation files say."""
