"""Training: the loop, the update, what is measured on the way."""
