"""Whole rollouts in virtual time, each from a seed, and an independent checker of what was promised."""
