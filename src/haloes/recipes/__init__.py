"""Experiments that ship with haloes: the demo, the paper's comparisons, and its theory."""
