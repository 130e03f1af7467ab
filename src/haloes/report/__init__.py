"""A run's records as one self-contained page and a model card, and several runs on one page."""
