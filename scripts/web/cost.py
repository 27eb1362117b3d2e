#!/usr/bin/env python3
"""What the pages cost: bytes in a release binary, and instructions of a request while nobody looks at them.

    scripts/web/cost.py target/release/ostia                 bytes
    scripts/web/cost.py target/release/ostia callgrind.out   instructions too; docs/pages.md says how to make the file

Exits with 1 if they cost more than 2 MB, or 1 % of the instructions.
"""

import re
import subprocess
import sys
from pathlib import Path

MOST_BYTES = 2_000_000
MOST_SHARE = 0.01
ROOM = "crates/ostia/src/web/"
# Code of the pages, and of the libraries that only they use.
SYMBOL = re.compile(r"ostia::web\b|\bmaud::")


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True, errors="replace").stdout


def bytes_of(binary):
    """Code by symbol, unwinding tables by its share, and all texts and files of the room, whether used or not."""
    code = everything = 0
    for line in run("nm", "--print-size", "--demangle", binary).splitlines():
        found = re.match(r"[0-9a-f]+ ([0-9a-f]+) [tT] (.*)", line)
        if found:
            size = int(found[1], 16)
            everything += size
            code += size if SYMBOL.search(found[2]) else 0
    sections = dict(line.split()[:2] for line in run("size", "-A", binary).splitlines() if line.startswith("."))
    tables = sum(int(sections.get(name, 0)) for name in (".eh_frame", ".eh_frame_hdr", ".gcc_except_table"))
    room = Path(__file__).parents[2] / ROOM
    texts = sum(path.stat().st_size for path in room.rglob("*") if path.is_file())
    return code, tables * code // everything, texts


def instructions_of(profile):
    """All of them, and those of the room: by the file that a line is from, or else by the function."""
    names = {"file": {}, "fn": {}}
    owner = file = function = ""
    total = own = 0
    is_call = False

    def name(kind, text):
        number, given = re.match(r"\((\d+)\)(?: (.*))?", text).groups()
        if given:
            names[kind][number] = given
        return names[kind].get(number, "")

    for line in Path(profile).read_text(errors="replace").splitlines():
        key, _, value = line.partition("=")
        if key == "fl":
            owner = file = name("file", value)
        elif key in ("fi", "fe"):
            file = name("file", value)
        elif key == "fn":
            file, function = owner, name("fn", value)
        elif key in ("cfi", "cfl"):
            name("file", value)
        elif key == "cfn":
            name("fn", value)
        elif key == "calls":
            is_call = True
        elif re.match(r"[+\-*\d]", line):
            # The line behind `calls` has the callee's cost.
            cost = 0 if is_call else int((line.split() + ["0", "0"])[1])
            is_call = False
            total += cost
            own += cost if ROOM in file or function.startswith("ostia::web::") else 0
    return total, own


def main(binary, profile=None):
    parts = bytes_of(binary)
    whole = sum(parts)
    print(f"bytes: {whole:,} (code {parts[0]:,}, unwinding {parts[1]:,}, texts and files at most {parts[2]:,})")
    share = 0.0
    if profile:
        total, own = instructions_of(profile)
        share = own / total
        print(f"instructions: {own:,} of {total:,} ({share:.3%})")
    return int(whole > MOST_BYTES or share > MOST_SHARE)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
