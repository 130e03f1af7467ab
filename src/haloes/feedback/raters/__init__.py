"""Who rated, and how: how votes spread over people, what they go with, and how far each rater can be relied on."""
