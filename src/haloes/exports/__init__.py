"""A run's model in the form that another program takes: a folder, an adapter, GGUF, Ollama, vLLM, the hub."""
