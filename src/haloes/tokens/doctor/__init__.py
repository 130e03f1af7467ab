"""The doctor of tokens (`haloes doctor --model`): lengths, cuts, refusals, previews, advice, and all of it as text."""
