"""What an environment is that says nothing of its own."""

from anypo import Environment, Turn


def test_one_that_says_nothing_ends_with_the_first_reply():
    environment = Environment()
    assert environment.reset({}) is None
    assert environment.tools == ()
    assert environment.step({}) == Turn("", 0.0, done=True)
