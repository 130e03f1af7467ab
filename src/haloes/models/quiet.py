"""Silence for libraries that report progress on the terminal while they load."""

import contextlib
import io
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """
    Keep progress bars, log lines and warnings of transformers and the hub off the terminal; restore all settings after.

    What a warning would say about the weights (missing, of another shape) has to be asked for instead: `load_model`
    takes the loading report and raises. Standard error is held back as well, because the bar of the GGUF reader is a
    plain tqdm that obeys no setting.
    """
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    bars, hub_bars = logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()  # switches the hub's bars on as well
            if bars and not hub_bars:
                disable_progress_bars()
