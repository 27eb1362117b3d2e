"""Prints client, version, direct and through-Ostia results; fails if Ostia lost something.

A check that fails through Ostia counts against it unless it failed directly too. One that was
skipped directly counts: that is a promise of the gateway's own. One that passed directly and
was not heard of again (a client that crashed) counts as failed.

usage: compare.py RESULTS_DIR CLIENT...   reads RESULTS_DIR/{direct,ostia}/CLIENT; without ostia/, shows direct alone
"""
import re
import sys
from pathlib import Path


def read(path: Path) -> dict:
    text = path.read_text() if path.exists() else ""
    version = re.search(r"^# (.+)$", text, re.M)
    skipped = re.search(r"(\d+) skipped$", text, re.M)
    return {
        "version": version[1] if version else "did not start",
        "ok": set(re.findall(r"^ok (\S+)$", text, re.M)),
        "fail": set(re.findall(r"^FAIL (\S+):", text, re.M)),
        "finished": bool(skipped),
        "skipped": skipped[1] if skipped else "?",
    }


def cell(result: dict) -> str:
    end = "" if result["finished"] else " did not finish"
    return f"{len(result['ok'])}/{len(result['fail'])} ({result['skipped']} skipped){end}"


def main(results: Path, clients: list[str]) -> int:
    through = (results / "ostia").is_dir()
    rows = [("client", "version", "direct pass/fail", *(["through Ostia"] if through else []))]
    notes, bad = [], False
    for client in clients:
        direct = read(results / "direct" / client)
        row = [client, direct["version"], cell(direct)]
        if not direct["ok"] or not direct["finished"]:
            notes.append(f"{client}: did not finish directly, so it says nothing about Ostia")
            bad = True
        notes += [f"{client} {name}: fails directly" for name in sorted(direct["fail"])]
        bad |= not through and bool(direct["fail"])
        if through:
            ostia = read(results / "ostia" / client)
            row.append(cell(ostia))
            lost = sorted((ostia["fail"] | direct["ok"]) - ostia["ok"] - direct["fail"])
            notes += [f"{client} {name}: FAILS THROUGH OSTIA" for name in lost]
            bad |= bool(lost) or not ostia["finished"]
        rows.append(tuple(row))
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
    print("\n".join(notes))
    return int(bad)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
