"""The python blocks of docs/engines.md."""

import os

from .compare import ROOT, URL, connect, to_parquet

PAGE = ROOT / "docs/engines.md"


def blocks(headings):
    """Lines and code of the blocks under these headings."""
    heading, code, found = None, None, []
    for number, line in enumerate(PAGE.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("## "):
            heading = line[3:]
        elif line == "```python":
            code = []
        elif line == "```" and code is not None:
            if heading in headings:
                found.append((number - len(code), "\n".join(code)))
            code = None
        elif code is not None:
            code.append(line)
    return found


def run(directory, *headings):
    """One after the other, in a directory with the shop's tables; what they leave behind."""
    with connect() as connection:
        for table in ("orders", "customers"):
            to_parquet(connection, table, directory)
    os.chdir(directory)
    os.environ |= {"DATABASE_URL": URL, "MODULES": str(ROOT / "examples/engines")}
    names = {}
    found = blocks(headings)
    assert len(found) >= len(headings), f"{PAGE.name} has no blocks under some of {headings}"
    for line, code in found:
        print(f"{PAGE.name}:{line}", flush=True)
        exec(compile("\n" * (line - 1) + code, PAGE.name, "exec"), names)
    return names
