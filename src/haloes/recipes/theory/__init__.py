"""The KTO paper's theory as small exact programs, one a statement."""
