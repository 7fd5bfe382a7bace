"""The docs as tests read them: pages, code blocks, tables and links."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")  # a run's or a plan's name


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    def __str__(self):
        return self.path.name

    @property
    def text(self):
        """The whole file."""
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self):
        """The file without its blocks of commands, which have flags of other programs."""
        return re.sub(r"^```(?:sh|console)\n.*?^```", "", self.text, flags=re.DOTALL | re.MULTILINE)

    def blocks(self, kind):
        """The code blocks of this kind."""
        return re.findall(rf"^```{kind}\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)

    def line_blocks(self, program):
        """The command lines of this program, by block."""
        blocks = re.findall(r"^```(sh|console)\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)
        prompts = {"sh": f"{program} ", "console": f"$ {program} "}
        lines = [[line for line in text.splitlines() if f"{line} ".startswith(prompts[kind])] for kind, text in blocks]
        return [[line.removeprefix("$ ") for line in block] for block in lines if block]

    def lines(self, program):
        """The command lines of this program on the whole page."""
        return [line for block in self.line_blocks(program) for line in block]

    @property
    def commands(self):
        """The command lines of tilewise."""
        return self.lines("tilewise")

    def sessions(self):
        """Each command of a `console` block, with the output that is shown below it."""
        lines = "\n".join(self.blocks("console")).splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
        ends = [*starts[1:], len(lines)]
        return {
            lines[start].removeprefix("$ "): [line for line in lines[start + 1 : end] if line.strip()]
            for start, end in zip(starts, ends, strict=True)
        }

    def rows(self, heading):
        """The cells of all table rows below this heading, without code marks and without the head of a table."""
        section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", self.text, re.DOTALL | re.MULTILINE)
        assert section, f"{self} has no section {heading!r}"
        lines = section[1].splitlines()
        rules = [number for number, line in enumerate(lines) if re.fullmatch(r"\|[-:| ]+\|", line)]
        heads = {each - 1 for each in rules} | set(rules)
        tables = [line for number, line in enumerate(lines) if line.startswith("|") and number not in heads]
        return [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in tables]

    @property
    def anchors(self):
        """The anchors of its headings, as Markdown viewers form them."""
        headings = re.findall(r"^#+ (.*)$", self.text, re.MULTILINE)
        return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}

    @property
    def links(self):
        """The targets of its links and pictures within this repository."""
        return [each for each in re.findall(r"\]\(([^)\s]+)\)", self.text) if "://" not in each]


README = Page(ROOT / "README.md")
DOCS = [Page(path) for path in sorted((ROOT / "docs").glob("*.md"))]
PAGES = [README, Page(ROOT / "CONTRIBUTING.md"), Page(ROOT / "CHANGELOG.md"), *DOCS]


def page(name):
    """A page of docs/."""
    return Page(ROOT / "docs" / f"{name}.md")
