"""Look at runs: a report of them in the browser, a comparison in the terminal."""
