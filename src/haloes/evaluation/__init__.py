"""`haloes eval` and `haloes compare`: from records on disk to numbers with intervals."""
