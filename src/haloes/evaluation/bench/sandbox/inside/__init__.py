"""What runs in a jail: the program of a model in one, its tests in another; of the standard library alone."""
