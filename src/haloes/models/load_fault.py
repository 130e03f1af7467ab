"""The error for a model's folder that a library cannot load."""

from haloes.errors import ModelError
from haloes.models.cache import cache_dir
from haloes.models.locate import Location, brief


def load_fault(location: Location, part: str, error: Exception) -> ModelError:
    """Return the error for a folder that a library cannot load: most check no value, and raise errors of every kind."""
    if "trust_remote_code" in str(error):
        return ModelError(
            f"{location.name}: this {part} needs Python code from its repository, which haloes does not run. "
            "Use a model whose architecture is part of transformers."
        )
    cached = f" If it was cut short, delete {cache_dir() / 'gguf'} and try again." if location.is_gguf else ""
    return ModelError(f"{location.name}: the {part} in {location.path} cannot be loaded ({brief(error)}).{cached}")
