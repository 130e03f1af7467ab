"""What is in a set of feedback and what is wrong with it: findings, advice, and both as text (`haloes doctor`)."""
