"""
One file a format: the rows that it recognises, and how it turns a row into records.

A new format is a file here that ends with a `Format`, and its row in `table.py`.
"""
