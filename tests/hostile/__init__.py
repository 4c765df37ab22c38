"""The real command line, as processes, against a hostile cloud with books of its own."""
