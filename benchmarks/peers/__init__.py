"""The same rows, model and hyperparameters, given to anypo and to TRL."""
