"""Cells: morphologies and what is put on them."""
