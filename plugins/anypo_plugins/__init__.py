"""The built-in algorithms, one file each, registered like anybody else's."""
