"""The command line of scripts/bench, and its table."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from parts import MIRROR, PARTS


def options():
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("parts", nargs="*", metavar="PART", help="of: " + " ".join(PARTS))
    parser.add_argument("--check", action="store_true", help="exit 1 if a limit is broken")
    parser.add_argument("--repeat", type=int, default=5, help="pairs for each ratio")
    parser.add_argument("--cold", action="store_true", help="empty tfleet's cache before each of its runs")
    parser.add_argument("--keep", action="store_true", help="leave the fleets where they are")
    parser.add_argument("--memory-deployments", type=int, default=40, help="deployments of the part memory")
    chosen = parser.parse_args()
    for part in chosen.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part}; there are: {' '.join(PARTS)}")
    return chosen


def table(rows):
    print("\n| part | what | median | min | max | limit | | |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        numbers = " | ".join(f"{n:.2f}{row.unit}" for n in (row.median, min(row.values), max(row.values)))
        verdict = "holds" if row.holds else "BROKEN"
        print(f"| {row.part} | {row.what} | {numbers} | {row.limit}{row.unit} | {verdict} | {row.detail} |")


def main():
    chosen = options()
    rows = []
    top = Path(tempfile.mkdtemp(prefix="tfbench-"))
    try:
        for part in chosen.parts or PARTS:
            if part in ("plan", "disk") and not MIRROR:
                print(f"==> {part}: left out, there is no AWS provider for this platform", flush=True)
                continue
            print(f"==> {part}", flush=True)
            rows.append(PARTS[part](chosen, top / part))
            if not chosen.keep:
                shutil.rmtree(top / part)
    finally:
        if chosen.keep:
            print(f"    the fleets are in {top}")
        else:
            shutil.rmtree(top, ignore_errors=True)
    table(rows)
    broken = [row.part for row in rows if not row.holds]
    if broken:
        print(f"\nbroken: {', '.join(broken)}", file=sys.stderr)
    return 1 if chosen.check and broken else 0


if __name__ == "__main__":
    sys.exit(main())
