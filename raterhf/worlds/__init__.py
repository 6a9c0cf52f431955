"""Simulated populations whose true distributions are known."""
