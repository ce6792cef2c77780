"""Observers that hand a run to experiment trackers, with the tracker's own library."""
