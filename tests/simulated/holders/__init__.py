"""Rollouts that several processes of several machines may hold, one after another, over one store with leases."""
