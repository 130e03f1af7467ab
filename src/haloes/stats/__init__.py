"""Pure numbers: rates, areas under curves, intervals."""
