"""Simulate: equation files in, spikes and voltages out."""
