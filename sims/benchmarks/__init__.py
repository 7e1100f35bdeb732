"""Benchmarks: what a simulator costs, as a ratio to what it replaces.  python -m sims benchmark NAME"""
