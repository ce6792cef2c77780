"""What a plugin is: the questions that it answers, what it is given, and how it is found."""
