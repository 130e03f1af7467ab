"""Views: everything that commands show in the terminal, drawn with rich."""
