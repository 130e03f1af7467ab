"""The demo's feedback, answers of the embedded model to everyday prompts, and the rule that rates them."""
