"""The help of the command: its commands in groups by purpose, with an example of each; written without rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer import _click

# The commands of each group in the order of the help, with an example; the first example also stands in the list.
GROUPS = {
    "Start": {
        "try": "tilewise try receipts/1.jpg --schema receipt --offline",
        "init": "tilewise init my-receipts",
        "schemas": "tilewise schemas show receipt",
        "doctor": "tilewise doctor receipts/",
        "endpoint": "tilewise endpoint --reader echo --latency 0.5",
    },
    "Run": {
        "run": "tilewise run receipts/ --schema receipt --budget 20",
        "estimate": "tilewise estimate receipts/ --schema receipt",
        "apply": "tilewise apply data/out/plans/20261120T021500Z-3f9a.parquet",
        "calibrate": "tilewise calibrate --model Qwen/Qwen3.5-9B",
        "tune": "tilewise tune receipts/ --truth truth.jsonl --schema receipt",
        "serve": "tilewise serve --port 4200",
    },
    "Look": {
        "rows": "tilewise rows receipt --limit 50",
        "report": "tilewise report --open",
        "spend": "tilewise spend --by model --since 2026-11-01",
    },
    "Keep": {
        "prune": "tilewise prune --replies 90d --reports 30d --dry-run",
        "forget": "tilewise forget receipts/1.jpg --dry-run",
    },
}
OTHER = "Commands"  # the group of commands that stand in none


class HelpGroup(TyperGroup):
    """The commands of tilewise: listed by group, and each shows its example in its own help."""

    def get_command(self, ctx: _click.Context, cmd_name: str) -> _click.Command | None:
        """The command with its example."""
        command = super().get_command(ctx, cmd_name)
        if command and (example := _find_example(cmd_name)):
            command.epilog = f"Example: {example}"
        return command

    def list_commands(self, ctx: _click.Context) -> list[str]:  # noqa: ARG002 - as typer calls it
        """The names in the order of the groups."""
        return [name for names in self._group().values() for name in names]

    def format_commands(self, ctx: _click.Context, formatter: _click.HelpFormatter) -> None:  # noqa: ARG002
        """Writes one section per group: a line per command, and an example."""
        width = max(map(len, self.commands))
        for group, names in self._group().items():
            summaries = {name: self.commands[name].get_short_help_str(formatter.width - 6 - width) for name in names}
            with formatter.section(group):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in summaries.items()])
                if example := _find_example(names[0]):
                    formatter.write_text(f"Example: {example}")

    def _group(self) -> dict[str, list[str]]:
        """The names of the commands by group; groups without any are left out."""
        others = [name for name in self.commands if _find_example(name) is None]
        groups = {group: [name for name in names if name in self.commands] for group, names in GROUPS.items()}
        return {group: names for group, names in [*groups.items(), (OTHER, others)] if names}


def _find_example(command: str) -> str | None:
    return next((examples[command] for examples in GROUPS.values() if command in examples), None)
