"""Rewards: found by name, called within their time, and checked."""
