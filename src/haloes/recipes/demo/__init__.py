"""What the demo trains on: prompts written for it, answers of the embedded model, and the rule that rates them."""
