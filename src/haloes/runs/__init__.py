"""The main job: from feedback to an aligned model, measured before and after; its settings, set-up and folder."""
