"""`haloes eval --bench`: published benchmarks before and after, with the definitions of lm-eval and our own numbers."""
