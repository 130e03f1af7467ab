"""The doctor of feedback (`haloes doctor`): counts, duplicates and contradictions, advice, and all of it as text."""
