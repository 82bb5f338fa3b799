"""Random commands under random faults, and the eight invariants after each: ``python tests/fuzz/fuzz.py --minutes 30 --seed 7``.

A case is one command in a copy of the same world, with one fault: killed at a system call, killed after half a write, the disk full from a call on, one
input/output error (`shim`); or a file that it reads damaged beforehand: a bit flipped, the end cut off, all of it gone to zero length. Then:

1. the command ended as a command may end, the user's files are as they were, no step or answer is half there, the key is nowhere (`check`);
2. after a fault in flight the same command runs again without it: it succeeds, makes what it would have made without the fault, to the byte, and asks
   only what is not in the journal;
3. after damage at rest the command either makes what it would have made, or says what is damaged and ends with a code of its own. Where it ended with 0 and
   the damage is still there, a verifying command must tell.

Case N of seed S is always the same: ``--seed S --case N`` runs it alone and keeps its folder.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fuzz_check as check
from fuzz_endpoint import Endpoint, serving
from fuzz_verbs import SLOW, VERBS, Verb
from fuzz_world import CONCURRENCY, OWN, Result, World, build, filled

FLYING = ("kill", "torn", "enospc", "eio")
RESTING = ("flip", "cut", "empty")
BESIDE = ("events.jsonl", ".guardkit.lock", "journal.lock", "summary.json")
"""Files that no result depends on: logs, locks, a copy of figures."""


@dataclass
class Reference:
    """What a command does without a fault: its exit code, what it printed and made, the calls that it takes by class of fault, the prompts that it asks,
    and what is wrong even so."""

    result: Result
    made: dict[str, str]
    calls: dict[str, int]
    asks: Counter[str]
    wrong: list[str]


@dataclass
class Case:
    """One case and what was wrong with it."""

    number: int
    verb: str
    fault: str
    where: str = ""
    code: int = 0
    again: int | None = None
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        again = "" if self.again is None else f", again {self.again}"
        return f"case {self.number}: {self.verb}, {self.fault} {self.where}: exit {self.code}{again}" + "".join(
            f"\n    WRONG: {w}" for w in self.wrong
        )


class Fuzz:
    """Cases by number. `folder` takes the world and one copy at a time."""

    def __init__(self, seed: int, folder: Path, endpoint: Endpoint, verbs: list[Verb]) -> None:
        self._seed = seed
        self._folder = folder
        self._endpoint = endpoint
        self._verbs = {v.name: v for v in verbs}
        self._world = build(folder / "world", endpoint.url)
        self._references: dict[str, Reference] = {}
        pairs = [(v.name, f) for v in verbs for f in (*FLYING, *RESTING)]
        random.Random(seed).shuffle(pairs)
        self._pairs = sorted(pairs, key=lambda pair: sum(p[0] == pair[0] for p in pairs[: pairs.index(pair)]))  # every verb once, then again

    def case(self, number: int, *, keep: bool = False) -> Case:
        """Run one case."""
        name, fault = self._pairs[number % len(self._pairs)]
        verb, rng = self._verbs[name], random.Random(f"{self._seed}:{number}")
        reference = self._reference(verb)
        world = self._fresh(verb)
        case = Case(number, name, fault, wrong=[f"without a fault: {w}" for w in reference.wrong])
        if not reference.calls.get(fault, 1):  # it makes no such call
            case.fault = rng.choice(RESTING)
        (self._flying if case.fault in FLYING else self._resting)(case, verb, reference, world, rng)
        if case.wrong and not keep:
            world.folder.rename(self._folder / f"case-{number}")
        return case

    def _fresh(self, verb: Verb) -> World:
        """A copy, always in the same place: some files hold its name."""
        shutil.rmtree(self._folder / "copy", ignore_errors=True)
        world = self._world.copy(self._folder / "copy")
        verb.prepare(world)
        return world

    def _reference(self, verb: Verb) -> Reference:
        if verb.name not in self._references:
            world = self._fresh(verb)
            self._endpoint.asked.clear()
            args = filled(verb.args, world)
            result = world.guardkit(*args, fault="none")
            asks = Counter(self._endpoint.asked)
            again = self._fresh(verb)
            reads = again.guardkit(*args, fault="eio")
            wrong = [*check.spoken(result), *_always(world, result)]
            if result.code:
                raise AssertionError(f"guardkit {' '.join(args)}, without a fault: exit {result.code}\n{result.err}")
            calls = {f: reads.calls if f == "eio" else result.calls for f in FLYING}
            self._references[verb.name] = Reference(result, made(world, verb), calls, asks, wrong)
        return self._references[verb.name]

    def _flying(self, case: Case, verb: Verb, reference: Reference, world: World, rng: random.Random) -> None:
        total = reference.calls[case.fault]
        at = rng.randint(1, total)
        args, before = filled(verb.args, world), check.answers(world)
        self._endpoint.asked.clear()
        result = world.guardkit(*args, fault=case.fault, at=at)
        case.code, case.where = result.code, f"at call {at} of {total} ({result.hit.get('call', 'none')} {result.hit.get('path', '')})"
        case.wrong += [*check.spoken(result), *_always(world, result), *check.whole(world)]
        asked = Counter(self._endpoint.asked)
        kept = check.answers(world) if verb.name not in ("journal compact", "journal purge") else {}
        if kept:
            case.wrong += [f"the answer for {row} is gone from the journal" for row in before if kept.get(row) != before[row]]
        if case.fault == "enospc" and result.hit and result.code not in (0, 3):
            case.wrong.append(f"exit code {result.code} on a full disk: {result.err.strip()[-300:]}")
        left = re.compile(r"\.guardkit/(lock$|(old|new|work|gone)(/|$))" if "could not be removed" in result.err else r"(?!)")
        now = {n: d for n, d in made(world, verb).items() if not left.search(n)}
        done = result.code == 0 and now == reference.made
        if result.code == 0 and not done:
            case.wrong.append("exit code 0, but what it made is not what it should be: " + differing(now, reference.made))
        self._endpoint.asked.clear()
        again = world.guardkit(*args)
        case.again = again.code
        case.wrong += [*check.spoken(again), *_always(world, again), *check.whole(world), *check.leftovers(world)]
        if again.code != reference.result.code and not (verb.name == "journal purge" and again.code == 2):  # nothing is left to purge
            case.wrong.append(f"run again it ended with {again.code}: {again.err.strip()[-300:]}")
        elif (now := made(world, verb)) != reference.made:
            case.wrong.append("run again it made something else: " + differing(now, reference.made))
        if verb.journal:
            twice = [p for p in self._endpoint.asked if asked[p]]
            if len(twice) > CONCURRENCY or set(self._endpoint.asked) | set(asked) != set(reference.asks):
                case.wrong.append(f"{len(twice)} prompts were paid twice; {len(asked)} asked before, {len(self._endpoint.asked)} again")

    def _resting(self, case: Case, verb: Verb, reference: Reference, world: World, rng: random.Random) -> None:
        before = check.answers(world)
        files = [f for f in world.files(*[p for p in verb.reads if (world.folder / p).exists()]) if f not in OWN]
        name = rng.choice([f for f in files if (world.folder / f).stat().st_size])
        case.where = f"{name}{damage(world.folder / name, case.fault, rng)}"
        damaged = (world.folder / name).read_bytes()
        self._endpoint.asked.clear()
        result = world.guardkit(*filled(verb.args, world), fault="none")
        case.code = result.code
        case.wrong += [*check.spoken(result), *check.own(world), *check.secret(world, result)]
        slack = Path(name).parent == Path("outputs/journal") and check.answers(world) == before  # bytes of a page that hold nothing
        if result.code == 0 and not slack and Path(name).name not in BESIDE:
            now = {k: v for k, v in made(world, verb).items() if k != name}
            wanted = {k: v for k, v in reference.made.items() if k != name}
            still = (world.folder / name).is_file() and (world.folder / name).read_bytes() == damaged
            if now != wanted:
                case.wrong.append("exit code 0, but what it made is not what it should be: " + differing(now, wanted))
            if not verb.makes and printed(result) != printed(reference.result) and not _found_out(world, name):
                case.wrong.append("exit code 0, but it says something else, and no verifying command tells why")
            if still and not _found_out(world, name):
                case.wrong.append("exit code 0, the damage is still there, and no verifying command tells")
        paid = sum((Counter(self._endpoint.asked) - reference.asks).values())
        if paid and "damage" not in result.all:
            case.wrong.append(f"{paid} prompts were paid again without a word of damage")


def damage(path: Path, how: str, rng: random.Random) -> str:
    """Damage a file; what was done, in words."""
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    if how == "flip":
        data[at] ^= 1 << rng.randrange(8)
    else:
        del data[at if how == "cut" else 0 :]
    path.write_bytes(data)
    return {"flip": f", byte {at}", "cut": f", cut at {at}", "empty": ", emptied"}[how]


def _found_out(world: World, name: str) -> bool:
    """Whether the command that verifies such a file finds fault with it."""
    top = Path(name).parts
    if "journal" in top:
        return world.guardkit("journal", "verify").code == 2
    result = world.guardkit("verify", "/".join(top[:2]) if top[0] == "outputs" else top[0])
    return result.code == 2 and (top[2] if top[0] == "outputs" else top[-1]) in result.err  # it names the step, or the file


def made(world: World, verb: Verb) -> dict[str, str]:
    """What a command made, by file; without logs and times."""
    places = [m for m in verb.makes if (world.folder / m).exists()]
    found = world.files(*places) if places else {}
    return {n: d for n, d in found.items() if Path(n).name not in BESIDE and n not in OWN}


def printed(result: Result) -> Any:
    """What a command printed, without the figures of one invocation."""
    try:
        found = json.loads(result.out)
    except ValueError:
        return result.out
    return {k: v for k, v in found.items() if k not in ("seconds", "bytes")} if isinstance(found, dict) else found


def differing(now: dict[str, str], wanted: dict[str, str]) -> str:
    """The names of what differs."""
    return ", ".join(sorted(n for n in {*now, *wanted} if now.get(n) != wanted.get(n))[:5])


def _always(world: World, result: Result) -> list[str]:
    return [*check.conserved(world), *check.provenance(world), *check.own(world), *check.secret(world, result)]


def main() -> int:
    """The command line."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--seed", type=int, default=int(time.time()), help="default: the time, printed")
    ap.add_argument("--minutes", type=float, default=30)
    ap.add_argument("--case", type=int, help="this case alone; its folder stays")
    ap.add_argument("--first", type=int, default=0, help="number of the first case")
    ap.add_argument("--verb", help="only cases of this command")
    ap.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    a = ap.parse_args()
    folder = a.folder or Path(tempfile.mkdtemp(prefix="guardkit-fuzz-"))
    print(f"seed {a.seed}, in {folder}", flush=True)
    verbs = [v for v in [*VERBS, *SLOW] if a.verb in (None, v.name)]
    shutil.rmtree(folder, ignore_errors=True)
    end, cases = time.monotonic() + 60 * a.minutes, []
    with serving() as endpoint:
        fuzz, number = Fuzz(a.seed, folder, endpoint, verbs), a.case if a.case is not None else a.first
        while a.case is not None or time.monotonic() < end:
            cases.append(fuzz.case(number, keep=a.case is not None))
            print(cases[-1], flush=True)
            if a.case is not None:
                break
            number += 1
    return report(cases, a.seed)


def report(cases: list[Case], seed: int) -> int:
    """Cases by command and fault; the exit code."""
    count = Counter((c.verb, c.fault) for c in cases)
    print(f"\n{'':18}" + "".join(f"{f:>8}" for f in (*FLYING, *RESTING)))
    for verb in dict.fromkeys(c.verb for c in cases):
        print(f"{verb:18}" + "".join(f"{count[verb, f] or '':>8}" for f in (*FLYING, *RESTING)))
    bad = [c for c in cases if c.wrong]
    print(f"{len(cases)} cases of seed {seed}, {len(bad)} with something wrong" + "".join(f"\n{c}" for c in bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
