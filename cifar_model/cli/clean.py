"""``python -m cifar_model clean``: what runs and caches take on disk, and what can be deleted."""

import json

import click

from cifar_model.cli.options import json_option
from cifar_model.cli.output import show_table
from cifar_model.runs.disk import (
    CACHE_DAYS,
    QUOTA,
    Item,
    cache_items,
    gigabytes,
    old_caches,
    quota,
    remove,
    run_items,
)
from cifar_model.storage import caches_dir, runs_dir


@click.command()
@click.option("--caches", "all_caches", is_flag=True, help="All caches, used or not.")
@click.option(
    "--older-than", "days", type=click.FloatRange(0), default=CACHE_DAYS, show_default=True, metavar="DAYS",
    help="Caches unused for so many days.",
)  # fmt: skip
@click.option(
    "--runs-older-than", "run_days", type=click.FloatRange(0), metavar="DAYS",
    help="Also runs unchanged for so many days, with their models. Without it no run is deleted.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Delete; without it, only say what would be deleted.")
@json_option
def clean(all_caches: bool, days: float, run_days: float | None, yes: bool, as_json: bool) -> None:
    """Show what runs and caches take on disk, and delete what is no longer needed.

    Caches can be made again: decoded images, compiled networks, the pictures of past visits. The app deletes them
    after a month without use.
    """
    caches, runs = cache_items(), run_items()
    going = old_caches([*caches, *runs], 0 if all_caches else days)
    if run_days is not None:
        going += [item for item in runs if item.kind == "run" and not item.live and item.days >= run_days]
    gone = [item for item in going if remove(item)] if yes else []
    if as_json:
        return click.echo(json.dumps(_plain(runs, caches, going, gone, yes), indent=2))
    for title, place, items in (("Runs", runs_dir(), runs), ("Caches", caches_dir(), caches)):
        click.echo(f"{title}: {gigabytes(sum(item.size for item in items))} in {place}")
        rows = (
            (
                item.name if len(item.name) <= 40 else item.name[:37] + "...",
                item.what,
                "deleted" if item in gone else "can go" if item in going else "",
                gigabytes(item.size),
                f"{item.days:.0f}",
            )
            for item in sorted(items, key=lambda item: -item.size)
        )
        if items:
            show_table(("NAME", "KIND", "", "SIZE", "DAYS UNUSED"), rows, left=3)
    if most := quota():
        click.echo(f"Together they may take up to {gigabytes(most)} ({QUOTA}).")
    size = gigabytes(sum(item.size for item in (gone if yes else going)))
    if yes:
        click.echo(f"Deleted: {len(gone)}, {size}.")
    elif going:
        click.echo(f"Nothing was deleted. With --yes {len(going)} would be: {size}.")
    else:
        click.echo("Nothing to delete. --caches deletes all caches, --runs-older-than DAYS old runs.")


def _plain(runs: list[Item], caches: list[Item], going: list[Item], gone: list[Item], yes: bool) -> dict:
    return {
        "runs_bytes": sum(item.size for item in runs),
        "caches_bytes": sum(item.size for item in caches),
        "quota_bytes": quota(),
        "items": [
            {
                "kind": item.kind, "name": item.name, "what": item.what, "path": str(item.path), "bytes": item.size,
                "days": round(item.days, 2), "goes": item in going, "deleted": item in gone,
            }
            for item in (*runs, *caches)
        ],
        "deleted_bytes": sum(item.size for item in gone) if yes else 0,
    }  # fmt: skip
