"""Bringing one store into another."""
