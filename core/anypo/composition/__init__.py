"""How plugins become an algorithm: laid in a stack, tried on a made-up batch, explained."""
