"""Fitting models: the stages of a recipe, their losses and batches, and the monitor that watches them."""
