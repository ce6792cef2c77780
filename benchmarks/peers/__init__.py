"""The same rows, model and hyperparameters given to anypo and to TRL, and what each makes of them."""
