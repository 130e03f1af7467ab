"""
Records to token ids: rendering with the chat template, truncation to the window, and the mask of trained tokens.

`template` writes prompt and completion as text, `encode` makes them token ids, `parallel` does so in several processes
(`worker`), and `store` keeps the result on disk. `doctor/` shows what is cut, refused and trained.
"""
