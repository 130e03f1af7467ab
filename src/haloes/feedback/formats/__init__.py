"""One file a format: which rows it recognises, and how it turns a row into records."""
