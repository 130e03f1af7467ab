"""What one optimizer step holds: composition, mismatched completions, packing."""
