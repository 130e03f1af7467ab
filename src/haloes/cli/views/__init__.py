"""What a command shows in the terminal, drawn with rich."""
