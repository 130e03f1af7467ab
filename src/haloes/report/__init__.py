"""A run's records to one self-contained page and a summary for the terminal."""
