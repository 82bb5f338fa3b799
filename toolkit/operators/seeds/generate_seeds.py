"""Operator `generate_seeds`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

from toolkit.common.errors import InputError, did_you_mean
from toolkit.generation import BaseBackendConfig, build_request
from toolkit.guards import Guard
from toolkit.operators import _backends
from toolkit.operators._stop_if import StopIf
from toolkit.operators.base import DETAIL, OUTCOME, REASON, Columns, Context, GenerationOperator, Shape, StepInput
from toolkit.operators.clean._minhash import Shape as SketchShape
from toolkit.operators.clean._near_lookup import NearLookup
from toolkit.operators.seeds._candidate import Candidate, Reason, Stage, read_candidate
from toolkit.operators.seeds._diversity import DistinctNgrams
from toolkit.operators.seeds._grid import Cell, Grid, Place, known_categories, rules_of
from toolkit.operators.seeds._open_places import OpenPlaces
from toolkit.operators.seeds._prompts import Prompts, load_prompts
from toolkit.operators.seeds._questions import SHOWN, Messages, Questions, contradicted, disputes
from toolkit.operators.seeds._seed_figures import FIGURES, SeedCounts
from toolkit.operators.seeds._seed_options import VARIED, GenerateSeedsConfig
from toolkit.operators.seeds._seed_row import Accepted, seed_row, unconfirmed
from toolkit.records import Column, child_id, load_record

if TYPE_CHECKING:
    from toolkit.generation import Backend, Completion, Request
    from toolkit.taxonomy import Category

Opener = Callable[[], "Backend"]
_STAGES: dict[Stage, str] = {"author": "author", "reply": "responses", "judge": "judge"}


class GenerateSeeds(GenerationOperator):
    """A model writes seeds for categories of the taxonomy, so many for each cell of a grid: category, label, form, style and language.

    Each place in a cell is asked for in up to `rounds` rounds, until a candidate is taken: written by one rule of what the category has in or out,
    unlike every prompt that is there (those of the rows that it reads, too), and confirmed by a judge who is not shown what was asked for. A seed
    that the judge contradicts is set aside as `disputed`; other candidates that are not taken are rejected, with their reason. Never more seeds than
    wanted come out; what a cell is short of, and why, is among the figures.

    Rows are synthetic and say so: `source`, `licence`, label source `constructed` or `consensus`, and the models that wrote, replied and judged.
    What construction does not settle (a borderline prompt, a partial reply) gets the judge's label as `inferred`, without a judge none
    (`to_infer`). Variants share the group of the seed that they are made of. The embedded template writes mild sentences, for trying guardkit.

    Memory: a MinHash sketch of each row that it reads and of each seed; with `variants` the prompts of seeds that may be varied, too.
    """

    name = "generate_seeds"
    shape: ClassVar[Shape] = "source"
    inputs = ("*",)
    uses = frozenset({"guard.tasks", "guard.questions", "seed", "taxonomy.names", "taxonomy.cues", "taxonomy.descriptions"})
    figures = FIGURES
    config_class = GenerateSeedsConfig
    example = {"backend": {"backend": "template"}, "judge": {"backend": "template"}, "categories": ["fraud_theft"], "count": 5}
    config: GenerateSeedsConfig
    _first = True
    """Whether nothing was asked before the round at hand."""

    @property
    def stop_if(self) -> StopIf | None:
        return self.config.stop_if if self._first else None  # what is left for later rounds is what was hard to fill

    @classmethod
    def remarks(cls, options: Mapping[str, Any]) -> list[str]:
        backend = options.get("backend")
        if isinstance(backend, Mapping) and backend.get("backend") == "template":
            return ["The seeds were put together by the embedded template, for trying guardkit: they are all alike; train no guard on them."]
        return super().remarks(options)

    def columns(self, inputs: Mapping[str, Columns], guard: Guard) -> Columns:
        for name, columns in inputs.items():
            if "prompt" not in columns:
                raise InputError(f"generate_seeds reads the prompts of {name!r}, which has no column 'prompt'", hint=did_you_mean("prompt", columns))
        if not any(t.says == "prompt" for t in guard.tasks):
            hint = "a task of that name, or `about: prompt` at the task that says so"
            raise InputError(
                f"the guard {guard.name!r} has no task on whether a prompt asks for harm: there is no label to write seeds for", hint=hint
            )
        return {c.name: c for c in self.writes(guard)}

    def writes(self, guard: Guard) -> list[Column]:
        return list(load_record("made_seed", guard.task_names).columns)

    def sends(self, guard: Guard) -> list[str]:
        return []

    def media_fault(self, guard: Guard) -> str | None:
        return None

    def files(self, ctx: Context) -> dict[str, str]:
        self._categories_of(ctx)
        return super().files(ctx) | {"prompts": load_prompts(self.config.prompts, ctx.roots).fingerprint}

    def identity(self) -> dict[str, Any]:
        return {name: value for name, value in super().identity().items() if name != "prompts"}  # they are among `files`

    def words(self, ctx: Context) -> list[str]:
        cells, rounds = self._cells(ctx), self.config.rounds
        wanted = sum(c.wanted for c in cells)
        out = [f"{wanted:,} seeds in {len(cells):,} cells, each asked for in up to {rounds} rounds: {wanted:,} to {wanted * rounds:,} candidates"]
        if self.config.left_out:
            out.append(f"left out, as a response could be harmful (harmful_completions: false): {', '.join(self.config.left_out)}")
        for category in self._categories_of(ctx):
            sides = (("in", category.includes), ("out", category.excludes))
            if missing := [side for side, rules in sides if not rules]:
                out.append(f"the category {category.name!r} does not list what is {' and '.join(missing)}: seeds are written by its definition")
            if bare := [side for side, rules in sides if rules and not any(rule.examples for rule in rules)]:
                out.append(f"the category {category.name!r} has no example of what is {' and '.join(bare)}: seeds are written by its rules")
            if missing or bare:
                out.append(f"`guardkit category check {category.name} --taxonomy FILE` says where that belongs")
        if self.config.judge is None:
            out.append("no judge checks the seeds: their labels' source is `constructed`")
        return out

    def expected_rows(self, ctx: Context) -> int:
        """Seeds that are wanted."""
        return sum(c.wanted for c in self._cells(ctx))

    def _categories_of(self, ctx: Context) -> list[Category]:
        return known_categories(self.config.categories, ctx.taxonomy)

    def _cells(self, ctx: Context) -> list[Cell]:
        return self.config.cells([c.name for c in self._categories_of(ctx)])

    # Asking ----------------------------------------------------------------------------------------------------------

    def asked_columns(self, inputs: Mapping[str, Columns]) -> Columns:
        return {"id": Column("id", "string"), "number": Column("number", "int64")}

    def open(self, ctx: Context, inputs: Mapping[str, StepInput]) -> list[tuple[str, Opener]]:
        c = self.config
        self._ctx, self._inputs = ctx, inputs
        self._categories = {category.name: category for category in self._categories_of(ctx)}
        cells = self._cells(ctx)
        sides = [len(rules_of(self._categories[cell.category], cell.label)) for cell in cells]
        starts = [ctx.rng_seed("rule", cell.title) % max(1, n) for cell, n in zip(cells, sides, strict=True)]
        self._grid = Grid(cells, sides, starts)
        self._open_places = OpenPlaces(self._grid, ctx.step)
        self._prompts: Prompts = load_prompts(c.prompts, ctx.roots)
        self._questions = Questions(self._prompts, ctx.guard, plain=not c.backend.is_model)
        self._counts, self._ngrams = SeedCounts(cells), DistinctNgrams()
        self._shown = _backends.ShownModels(ctx.roots)
        self._round, self._first, self._in_text = 0, True, False
        self._backends: dict[Stage, Backend] = {}
        self._known, self._fresh = self._lookup(), self._lookup()
        self._waiting: list[tuple[int, str]] = []
        self._accepted: dict[int, Accepted] = {}
        """By its place a seed that may be varied; `_kin` has it and its variants by their numbers among all that were accepted."""
        self._ids: list[str] = []
        self._kin: dict[int, list[int]] = {}
        self._recent: dict[int, list[str]] = {}
        return [(_STAGES[stage], self._opener(stage)) for stage in self._configs]

    @property
    def _configs(self) -> dict[Stage, BaseBackendConfig]:
        c = self.config
        replies = any(form != "prompt" for _, form in c.wanted_forms())
        found = {"author": c.backend, "reply": (c.responses or c.backend) if replies else None, "judge": c.judge}
        return {stage: config for stage, config in found.items() if config is not None}  # type: ignore[misc]

    def _opener(self, stage: Stage) -> Opener:
        def opened() -> Backend:
            self._backends[stage] = _backends.opened(self._configs[stage], self._ctx)
            return self._backends[stage]

        return opened

    def _lookup(self) -> NearLookup:
        near = self.config.near
        return NearLookup(SketchShape(near.unit, near.size, near.permutations, near.bands), near.threshold)

    def passes(self, opened: Sequence[tuple[str, Opener]]) -> Sequence[tuple[str, Opener]]:
        self._known.begin(self._there())
        author = dict(opened)["author"]
        names = self._names(variants=False) + (self._names(variants=True) if self._varied else [])
        return [(name, partial(self._begun, name, author)) for name in names]

    def _there(self) -> Iterator[pl.Series]:
        """The prompts that are there already: those of the rows that it reads and, as no model is to copy them, the examples that it is shown."""
        for rows in self._inputs.values():
            yield from (block["prompt"] for block in rows.blocks(["prompt"]))
        if self.config.backend.is_model:
            rules = [rule for c in self._categories.values() for rule in (*c.includes, *c.excludes)]
            yield pl.Series([text for rule in rules for text in rule.examples], dtype=pl.String)

    @property
    def _varied(self) -> list[Cell]:
        """The cells whose seeds are made out of others."""
        return [cell for cell in self._grid.cells if cell.change is not None]

    def _names(self, *, variants: bool) -> list[str]:
        return [f"{'variants, ' if variants else ''}round {n}" for n in range(1, self.config.rounds + 1)]

    def _begun(self, name: str, author: Opener) -> Backend:
        """Begin a round: what was taken in the one before is known from now on."""
        for number, text in self._waiting:
            self._known.add(text)
            cell = self._grid.place(number).cell
            self._recent[cell.number] = [*self._recent.get(cell.number, []), text][-SHOWN:]
        self._waiting, self._fresh = [], self._lookup()
        self._round = int(name.rpartition(" ")[2]) - 1
        varies = name.startswith("variants")
        self._first = self._round == 0 and not varies
        if varies and self._round == 0:
            for cell in self._varied:
                assert cell.of is not None  # noqa: S101  a cell of variants says of which
                parents = [n for n in self._grid.numbers(self._grid.cells[cell.of]) if n in self._accepted]
                self._counts.without(cell, self._open_places.give_up(cell, parents))
        self._open_places.begin(varies=varies)
        return author()

    def asked_rows(self, name: str, inputs: Mapping[str, StepInput], ctx: Context) -> StepInput:
        return self._open_places.rows()

    def makes_up(self, name: str) -> bool:
        return not name.endswith(f"round {self.config.rounds}")

    def known_before(self, name: str) -> bool:
        return name == _STAGES["author"]

    def fallbacks(self, name: str, ctx: Context) -> list[Opener]:
        return [self._opener(stage) for stage in self._configs if stage != "author"] if name not in _STAGES.values() else []

    def asks_again(self, guard: Guard) -> bool:
        return len(self._configs) > 1

    def requests(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        place = self._grid.place(row["number"])
        return [self._request("author", self._author_messages(place), row["id"], draw=place.number, attempt=self._round)]

    def every_request(self, row: Mapping[str, Any], name: str, backend: Backend, ctx: Context) -> list[Request]:
        stage = next(s for s, n in _STAGES.items() if n == name)
        self._backends[stage] = backend
        place = self._grid.place(row["number"])
        if stage == "author":
            return self.requests(row, name, backend, ctx)
        if stage == "reply" and place.cell.form == "prompt":
            return []
        category = self._categories[place.cell.category]
        stand_in = next((e for _, examples in rules_of(category, place.cell.label) for e in examples), category.definition)
        stand_in = f"{stand_in} ({place.number})"  # as many questions as there will be
        like = Candidate([stand_in], None if place.cell.form == "prompt" else stand_in)
        return [self._asked_next(stage, place, like, row["id"])]

    def _author_messages(self, place: Place) -> Messages:
        category = self._categories[place.cell.category]
        if place.cell.change is not None:
            return self._questions.change(category, place, self._parent(place).prompt)
        avoid = self._recent.get(place.cell.number, [])
        return self._questions.seed(category, place, self._style(place), self.config.turns, avoid, self._round)

    def _parent(self, place: Place) -> Accepted:
        return self._accepted[self._open_places.parent(place)]

    def _style(self, place: Place) -> str:
        if place.cell.change is not None:
            return self._parent(place).style
        if place.cell.style != VARIED:
            return place.cell.style
        return self._prompts.voices[(place.number + self._round) % len(self._prompts.voices)]

    def _request(self, stage: Stage, messages: Messages, row: str, *, draw: int = 0, attempt: int = 0, schema: str = "") -> Request:
        return build_request(self._backends[stage], self._configs[stage], messages, draw=draw, attempt=attempt, schema=schema, row=row)

    def _asked_next(self, stage: Stage, place: Place, found: Candidate, row: str) -> Request:
        if stage == "reply":
            return self._request(stage, self._questions.reply(place.cell, found.messages), row)
        structured = self._configs[stage].structure != "off" and not self._in_text
        schema = self._questions.schema(found.response) if structured else ""
        messages = self._questions.judge(self._categories[place.cell.category], found.messages, found.response)
        return self._request(stage, messages, row, schema=schema)

    def again(
        self, row: Mapping[str, Any], name: str, request: Request, completion: Completion, trail: Sequence[Completion], ctx: Context
    ) -> Request | None:
        if completion.error == "no_schema":
            self._in_text = self._in_text or self._tries_schema
        place = self._grid.place(row["number"])
        found = self._candidate(place, [*trail, completion])
        return None if found.next is None else self._asked_next(found.next, place, found, row["id"])

    @property
    def _tries_schema(self) -> bool:
        return self.config.judge is not None and self.config.judge.structure == "try"

    def _candidate(self, place: Place, answers: Sequence[Completion]) -> Candidate:
        verdict = self._questions.verdict if self.config.judge is not None else None
        known = partial(self._like, self._known, place)
        return read_candidate(answers, place.cell, self.config.turns, known=known, verdict=verdict, in_text=self._tries_schema)

    def _like(self, lookup: NearLookup, place: Place, prompt: str) -> Reason | None:
        """What a prompt is too much like."""
        base = 0 if lookup is self._known else len(self._ids) - len(self._waiting)
        kin = self._kin[self._open_places.parent(place)] if place.cell.change is not None else []
        found = lookup.nearest(prompt, [i - base for i in kin])
        if found is None:
            return None
        share, number = found
        shown = ", or an example of the taxonomy" if self.config.backend.is_model else ""
        of = f"a row that it reads{shown}" if number < 0 else f"the seed {self._ids[number + base]}"
        return ("repeat", f"it is the prompt of {of}") if share == 1.0 else ("near", f"{share:.2f} like the prompt of {of}")

    # Answers ---------------------------------------------------------------------------------------------------------

    def answer(self, row: Mapping[str, Any], name: str, draw: int, request: Request, completion: Completion) -> dict[str, Any]:
        place = self._grid.place(row["number"])
        found = self._candidate(place, [*completion.trail, completion])
        parent = self._parent(place) if place.cell.change is not None else None
        fault = found.fault or (self._like(self._fresh, place, found.messages[-1]) if found.messages else None)
        outcome = "rejected"
        category = self._categories[place.cell.category]
        rules = rules_of(category, place.cell.label)
        rule = rules[place.rule][0] if place.rule is not None else None
        about: dict[str, Any] = {"style": self._style(place), "rule": rule, "parent": parent, "models": self._models(found)}
        made = seed_row(found, place, category, self._ctx, self.config, **about)
        if found.verdict is not None:
            if not self.config.harmful_completions and self._does_harm(found):
                fault, made = fault or ("harmful_completion", "the judge finds the response harmful"), {**made, "response": None}
            against = disputes(found.verdict, made["_constructed"], {"harmful": True, "benign": False}.get(place.cell.label))
            if against:
                made = {**unconfirmed(made), "suspect": contradicted(found.verdict, made["_constructed"])}
            if fault is None and against and self.config.disputed == "set_aside":
                fault, outcome = ("disputed", f"{'; '.join(against)} ({found.verdict['why']})"), "set_aside"
        made.pop("_constructed")
        self._counts.take(place, rule, fault[0] if fault else None)
        if fault is not None:
            own = {} if outcome == "set_aside" else {"id": child_id(row["id"], self._round)}
            return {**unconfirmed(made), **own, OUTCOME: outcome, REASON: fault[0], DETAIL: fault[1]}
        self._take(place, made)
        return {**made, REASON: None, DETAIL: None}

    def _does_harm(self, found: Candidate) -> bool:
        """Whether the judge says so of the response, which is then kept nowhere but in the journal."""
        tasks = self._questions.tasks(found.response)
        return any(t.says == "response" and (found.verdict or {})[t.name] == t.positive for t in tasks)

    def _models(self, found: Candidate) -> dict[Stage, str]:
        return {stage: self._shown(self._configs[stage], model) for stage, model in (found.models or {}).items()}

    def _take(self, place: Place, made: Mapping[str, Any]) -> None:
        self._open_places.close(place)
        self._fresh.add(made["prompt"])
        self._waiting.append((place.number, made["prompt"]))
        self._ngrams.add(made["prompt"])
        if place.cell.change is not None:
            self._kin[self._open_places.parent(place)].append(len(self._ids))
        elif place.number in self._open_places.may_be_varied:
            self._accepted[place.number] = Accepted(made["id"], made["prompt"], made["group"], made["seed_style"])
            self._kin[place.number] = [len(self._ids)]
        self._ids.append(made["id"])

    def so_far(self) -> str:
        return f"step {self._ctx.step!r}: {self._counts.words()}"

    def stats(self) -> dict[str, Any]:
        sides = list(self._rules())
        out = {"cells": self._counts.cells(), "rules": self._counts.rules(sides), "distinct_ngrams": self._ngrams.figures()}
        return out | ({"left_out": self.config.left_out} if self.config.left_out else {})

    def _rules(self) -> Iterator[tuple[str, str, str]]:
        """The rules that seeds were wanted by."""
        labels = dict.fromkeys((cell.category, cell.label) for cell in self._grid.cells)
        found = ((c, "out" if label == "benign" else "in", rule) for c, label in labels for rule, _ in rules_of(self._categories[c], label))
        yield from dict.fromkeys(found)
