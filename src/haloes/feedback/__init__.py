"""Outside formats to records: readers, labels, conversions, splits, and what is wrong with the data."""
