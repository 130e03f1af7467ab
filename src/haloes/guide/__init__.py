"""A guide to the losses: explained in words, drawn as curves, and recommended for a feedback file."""
