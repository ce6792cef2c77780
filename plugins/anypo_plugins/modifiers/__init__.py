"""Plugins that go on top of an algorithm and change one thing of it."""
