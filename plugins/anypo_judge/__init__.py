"""A reward that a language model on a server gives."""
