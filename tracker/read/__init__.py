"""Runs and records as typed tables."""
