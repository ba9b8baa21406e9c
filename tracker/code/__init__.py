"""Snapshots of code, and the environment that ran it."""
