#!/usr/bin/env python3
"""Makes the next release of a copy of this repository: a migration more for each database, and a column more in the ledger.

    scripts/stress/next_release.py FOLDER
"""

import re
import sys
from pathlib import Path

store = Path(sys.argv[1]) / "crates/ostia-store"


def change(file, pattern, replacement):
    text = file.read_text()
    changed, count = re.subn(pattern, replacement, text, count=1, flags=re.S)
    if count != 1:
        raise SystemExit(f"{file} is not as expected: {pattern}")
    file.write_text(changed)


def next_number(text):
    return f"{int(text) + 1}"


change(store / "src/release.rs", r"pub const RELEASE: i64 = (\d+);", lambda found: f"pub const RELEASE: i64 = {next_number(found[1])};")
for folder, lines in [
    ("sqlite", "CREATE TABLE of_the_next_release (x INTEGER NOT NULL) STRICT;\n"),
    ("postgres", "CREATE TABLE of_the_next_release (x BIGINT NOT NULL);\nCREATE INDEX ledger_of_the_next_release ON ledger (cluster);\n"),
]:
    files = sorted((store / "migrations" / folder).iterdir())
    name = f"{int(files[-1].name[:4]) + 1:04}_next_release.sql"
    (files[-1].parent / name).write_text(lines)
    change(store / "src/migrations.rs", rf'("{files[-1].name}"\n)', lambda found, name=name: f'{found[1]}    "{name}"\n')
columns = store.parent / "ostia-core/src/ledger/columns.rs"
number = max(int(found) for found in re.findall(r"\n\s+(\d+) \w+: ", columns.read_text())) + 1
line = f'{number} of_the_next_release: u32,\n                    "Always 0.";\n                '
change(columns, r"(?=38 count: u32,)", line)
page = store.parent / "ostia-core/src/books/page.rs"
change(page, r"(?<=\n        LedgerRow \{\n)", "            of_the_next_release: 0,\n")
