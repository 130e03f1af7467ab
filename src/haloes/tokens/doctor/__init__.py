"""What becomes of feedback as tokens of one model: findings, previews, advice, and all as text (`haloes doctor`)."""
