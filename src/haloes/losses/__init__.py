"""One file a loss; a loss is a value that declares what it needs."""
