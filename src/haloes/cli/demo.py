"""`haloes demo`: the main job on feedback that ships with haloes."""

from haloes.cli.flags import Out, Settings


def demo(
    *,
    out: Out = None,
    settings: Settings = (),
) -> None:
    """Align SmolLM2-135M-Instruct with feedback that ships with haloes, and show what changed.

    Parameters
    ----------
    out
        The run's folder; runs/demo-<number> if left out.
    settings
        Any setting as section.key=value.
    """
    from haloes.cli.views.run import show_run
    from haloes.progress.display import Display
    from haloes.recipes.demo.recipe import demo_config
    from haloes.runs.align import align
    from haloes.runs.config import parse_settings
    from haloes.runs.run_folder import numbered_run_dir

    with Display() as progress:
        run = align(demo_config(parse_settings(settings)), out or numbered_run_dir("demo"), progress=progress)
    show_run(run)
