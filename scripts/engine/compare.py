"""Prints client, version, direct and through-Ostia results; fails if Ostia lost something.

A check that fails through Ostia counts against it unless it failed directly too. One that was
skipped directly counts: that is a promise of the gateway's own. One that passed directly and
was not heard of again (a client that crashed) counts as failed.

An agent must also have sent the same requests, each with the same status and end, and have ended with the same exit
code. A request that the engine itself refused may go better through Ostia.

usage: compare.py [--write] ENGINE VERSION RESULTS_DIR CLIENT...
reads RESULTS_DIR/{direct,ostia:...}/CLIENT; --write puts the table into docs/conformance.md
"""
import re
import sys
from collections import Counter
from pathlib import Path

import skips

DOCUMENT = Path(__file__).parents[2] / "docs/conformance.md"


def read(path: Path) -> dict:
    text = path.read_text() if path.exists() else ""
    version = re.search(r"^# (.+)$", text, re.M)
    return {
        "version": version[1] if version else "did not start",
        "ok": set(re.findall(r"^ok +(\S+)$", text, re.M)),
        "fail": set(re.findall(r"^FAIL (\S+):", text, re.M)),
        "skip": set(re.findall(r"^skip (\S+)$", text, re.M)),
        "finished": bool(re.search(r"\d+ skipped$", text, re.M)),
        "requests": re.findall(r"^# request (.+)$", text, re.M),
        "exit": re.findall(r"^# (exit code \d+)$", text, re.M),
    }


def cell(result: dict) -> str:
    end = "" if result["finished"] else " did not finish"
    return f"{len(result['ok'])} / {len(result['fail'])} / {len(result['skip'])}{end}"


def agent_cell(result: dict) -> str:
    ways = {"agent.tool": "tool call, round trip", "agent.chat": "text"}
    done = ", ".join(text for name, text in ways.items() if name in result["ok"])
    exit = "" if result["exit"] == ["exit code 0"] else f", {', '.join(result['exit']) or 'did not finish'}"
    return f"{done or 'FAILED'}; {len(result['requests'])} requests{exit}"


def differences(direct: dict, ostia: dict) -> list[str]:
    """What an agent did otherwise through Ostia than directly."""

    def answered(result: dict) -> Counter:
        return Counter(line for line in result["requests"] if line.split()[2] < "400")

    told = []
    for line, count in (answered(direct) - answered(ostia)).items():
        told.append(f"{count} fewer of `{line}`")
    if len(ostia["requests"]) != len(direct["requests"]):
        told.append(f"{len(ostia['requests'])} requests, and {len(direct['requests'])} directly")
    if ostia["exit"] != direct["exit"]:
        told.append(f"{ostia['exit']}, and {direct['exit']} directly")
    return told


def compare(results: Path, clients: list[str]) -> tuple[list[tuple], list[str], bool]:
    """The table, what there is to say about it, and whether something is wrong."""
    ways = sorted(path.name for path in results.glob("ostia:*"))
    names = [way.removeprefix("ostia").replace(":", "/") for way in ways]
    rows = [("client", "version", "direct", *(f"Ostia, {name}" for name in names))]
    notes, bad = [], False
    for client in clients:
        direct = read(results / "direct" / client)
        through = {way: read(results / way / client) for way in ways}
        name, version, shown = client, direct["version"], cell
        if client.startswith("agent_"):
            (name, _, version), shown = version.rpartition(" "), agent_cell
        rows.append((name, version, shown(direct), *(shown(result) for result in through.values())))
        if not direct["ok"] or not direct["finished"]:
            notes.append(f"{client}: did not finish directly, so it says nothing about Ostia")
            bad = True
        notes += [f"{client} {name}: fails directly" for name in sorted(direct["fail"])]
        bad |= not ways and bool(direct["fail"])
        for way, ostia in through.items():
            lost = sorted((ostia["fail"] | direct["ok"]) - ostia["ok"] - direct["fail"])
            notes += [f"{client} {name}: FAILS THROUGH OSTIA ({way})" for name in lost]
            others = differences(direct, ostia) if direct["ok"] else []
            notes += [f"{client}: {what} ({way})" for what in others]
            bad |= bool(lost or others) or not ostia["finished"]
    return rows, notes, bad


def table(rows: list[tuple]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


def section(engine: str, version: str, rows: list[tuple], notes: list[str]) -> str:
    lines = [f"**{version}**: passed / failed / skipped.", "", *table(rows)]
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    both, direct = skips.reasons(engine, "ostia"), skips.reasons(engine, "direct")
    lines += ["", "Skipped everywhere:", "", *listed(both)]
    lines += ["", "Skipped directly only, because the gateway promises it and the engine does not:", ""]
    lines += listed({name: why for name, why in direct.items() if name not in both})
    return "\n".join(lines)


def agents_section(version: str, rows: list[tuple], notes: list[str], results: Path, agents: list[str]) -> str:
    lines = [f"**{version}**.", "", *table(rows)]
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    lines += ["", "What each sent to the engine itself, and how the answers ended:", ""]
    for agent in agents:
        direct = read(results / "direct" / agent)
        counted = Counter(direct["requests"]).items()
        sent = ", ".join(f"`{line}`" + (f" {count} times" if count > 1 else "") for line, count in counted)
        lines.append(f"- {direct['version']}: {sent}")
    return "\n".join(lines)


def listed(reasons: dict[str, str]) -> list[str]:
    names: dict[str, list[str]] = {}
    for name, why in reasons.items():
        names.setdefault(why, []).append(f"`{name}`")
    return [f"- {', '.join(group)}: {why}" for why, group in names.items()]


def write(name: str, text: str) -> None:
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, _, rest = DOCUMENT.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        sys.exit(f"{DOCUMENT.name} lacks {begin} or {end}")
    DOCUMENT.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def main(engine: str, version: str, results: Path, clients: list[str], writes: bool) -> int:
    agents = [client for client in clients if client.startswith("agent_")]
    libraries = [client for client in clients if client not in agents]
    failed = False
    for group in filter(None, (libraries, agents)):
        rows, notes, bad = compare(results, group)
        failed |= bad
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        for row in rows:
            print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
        print(*notes, sep="\n")
        if writes and group is libraries:
            write(engine, section(engine, version, rows, notes))
        elif writes:
            write(f"{engine}-agents", agents_section(version, rows, notes, results, agents))
    return int(failed)


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--write"]
    sys.exit(main(words[0], words[1], Path(words[2]), words[3:], len(words) < len(sys.argv) - 1))
