"""Records to token ids: chat template, truncation, and the masks of what is trained."""
