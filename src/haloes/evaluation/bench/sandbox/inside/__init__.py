"""Code that runs inside the jails, a generated program in one and its tests in another; standard library alone."""
