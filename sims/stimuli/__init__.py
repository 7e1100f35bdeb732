"""Generators of what a simulated neuron is given as input."""
