"""The losses explained: in words, as curves, and which of them suits a feedback file."""
