"""Published figures: each as it is in the tables that it was taken from, means that come out, cohorts that say what may stand side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from toolkit.common.errors import InputError, InputErrors
from toolkit.evaluation import (
    Cohort,
    PublishedFigure,
    agreeing,
    apart,
    benchmark_names,
    choose_published,
    load_benchmark,
    load_published,
    published_figures,
    published_names,
    published_spread,
)

PROMPT = ["toxic_chat", "harmbench_prompt", "openai_moderation", "aegis_safety_test", "simple_safety_tests", "wildguard_test_prompt"]
RESPONSE = ["harmbench_response", "safe_rlhf", "beavertails", "xstest_response_harmful", "wildguard_test_response"]
REFUSAL = ["xstest_response_refusal", "wildguard_test_refusal"]
Cell = tuple[str, str | None, str | None, str, str]
"""Model, reading, task, column, metric."""


@pytest.fixture(scope="module")
def pages(real_data: Path) -> dict[str, str]:
    """The two pages of tables that are beside the released files."""
    found = {n: real_data.parent / "spec" / f"{n}.md" for n in ("guardreasoner", "published-f1")}
    if not all(p.is_file() for p in found.values()):
        pytest.skip("needs guardreasoner.md and published-f1.md in a folder spec beside the one of GUARDKIT_DATA")
    return {n: p.read_text(encoding="utf-8") for n, p in found.items()}


def table(page: str, after: str) -> list[list[str]]:
    """The body of the first table behind some words."""
    block = re.search(r"(?:^\|.*\n)+", page[page.index(after) :], re.M)
    assert block
    return [[c.strip().replace("**", "") for c in line.strip().strip("|").split("|")] for line in block[0].splitlines()[2:]]


def listed(source: str, where: str = "") -> dict[Cell, float]:
    """The figures of a source's file."""
    found = [f for f in published_figures(load_published(source)) if where in f.where]
    out: dict[Cell, float] = {(f.model, f.cohort.reading, f.task, f.benchmark or str(f.mean), f.metric): f.value for f in found}
    assert len(out) == len(found), "a figure given twice"
    return out


def named(model: str) -> str:
    """A model by the one name that it has in all files."""
    known = {"GPT-5.1 / Gemini3-Pro": "GPT-5.1 / Gemini 3 Pro", "Qwen3Guard-8B": "Qwen3Guard-Gen 8B"}
    model = known.get(model, model).replace("LLaMA Guard", "Llama Guard")
    model = re.sub(r"^VL", "GuardReasoner-VL", model)
    return re.sub(r"^(GuardReasoner-VL|YuFeng-XGuard-Reason)-(\d+B)$", r"\1 \2", model)


def numbers(cell: str) -> list[float]:
    return [float(v) for v in re.findall(r"\d+(?:\.\d+)?", cell)]


def test_guardreasoners_figures_are_those_of_its_paper(pages: dict[str, str]) -> None:
    stated: dict[Cell, float] = {}
    for head, task, columns in (("### E.2", "prompt", PROMPT), ("### E.3", "response", RESPONSE), ("### E.4", "refusal", REFUSAL)):
        for model, *cells in table(pages["guardreasoner"], head):
            for column, cell in zip([*columns, "weighted", *(["overall"] if task == "refusal" else [])], cells, strict=True):
                extra = re.search(r"\((2B): ([\d.]+)\)", cell)
                if extra:
                    stated[("ShieldGemma 2B", None, task, column, "f1")] = float(extra[2])
                if cell != "–":
                    stated[(named(model), None, None if column == "overall" else task, column, "f1")] = numbers(cell)[0]
    assert len(stated) == 281 and stated == listed("guardreasoner")


def test_qwen3guards_figures_are_those_of_its_report(pages: dict[str, str]) -> None:
    page, found = pages["published-f1"], dict[Cell, float]()
    order = ["toxic_chat", "openai_moderation", "aegis_safety_test", "simple_safety_tests", "harmbench_prompt", "wildguard_test_prompt", "Aegis 2.0"]
    for head, task, columns in (("## 1.", "prompt", order), ("## 2.", "response", [*RESPONSE, "Aegis 2.0", "Think"])):
        for model, *cells in table(page, head):
            two = "/" in cells[0]
            name = named(model.removesuffix(" strict / loose"))
            for column, cell in zip(columns, cells, strict=True):
                values = numbers(re.sub(r"\(.*?\)", "", cell))
                assert len(values) == 1 + two
                found |= {(name, r, task, column, "f1"): v for r, v in zip(("strict", "loose") if two else (None,), values, strict=True)}
    for model, *cells in table(page, "## 3."):
        for column, cell in zip(REFUSAL, cells, strict=True):
            metrics = ("f1",) if cell.startswith("F1") else ("precision", "recall", "f1")
            found |= {(model, None, "refusal", column, m): v for m, v in zip(metrics, numbers(cell.removeprefix("F1")), strict=True)}
    assert found == {k: v for where in ("tables 2", "tables 3", "table 7") for k, v in listed("qwen3guard", where).items()}
    slip = re.search(r"disagree on Qwen3Guard-Gen 4B strict WildGuard \((\S+) against (\S+) after distillation, (\S+) before\)", page)
    assert slip and [*listed("qwen3guard", "table 9").values()] == [float(slip[2]), float(slip[3])]
    assert found["Qwen3Guard-Gen 4B", "strict", "prompt", "wildguard_test_prompt", "f1"] == float(slip[1])


def test_guardreasoner_vls_figures_are_those_of_its_paper(pages: dict[str, str]) -> None:
    page, found = pages["published-f1"], dict[Cell, float]()
    heads = (
        ("## 4.", "prompt", [*PROMPT, "text", "HarmImageTest", "SPA-VL-Eval", "all"]),
        ("Response, order HarmBench / SafeRLHF / BeaverTails", "response", [*RESPONSE, "text", "SPA-VL-Eval", "all"]),
    )
    several = {
        "ShieldGemma 9B (2B)": ["ShieldGemma 9B", "ShieldGemma 2B"],
        "Aegis Defensive / Permissive 7B": ["Aegis Defensive 7B", "Aegis Permissive 7B"],
        "HarmBench Llama 13B / Mistral 7B": ["HarmBench Llama 13B", "HarmBench Mistral 7B"],
        "GuardReasoner 1B / 3B / 8B (other numbers than its own paper)": [f"GuardReasoner {s}" for s in ("1B", "3B", "8B")],
    }
    for head, task, columns in heads:
        for model, *cells in table(page, head):
            names = several.get(model, [named(model)])
            for column, cell in zip(columns, cells, strict=True):
                values = numbers(cell)
                found |= {(n, None, task, column, "f1"): (values * len(names))[i] for i, n in enumerate(names) if i < len(values) or "2B" not in n}
    tokens = re.search(r"Tokens: VL (\S+) \(3B\) / (\S+) \(7B\); Eco (\S+) / (\S+); F1 means (\S+) / (\S+) against (\S+) / (\S+)\.", page)
    assert tokens
    names = [f"GuardReasoner-{n}" for n in ("VL 3B", "VL 7B", "VL-Eco 3B", "VL-Eco 7B")]
    for i, name in enumerate(names):
        found[(name, None, None, "all", "tokens")] = float(tokens[i + 1])
        found[(name, None, None, "overall", "f1")] = float(tokens[i + 5])
    assert found == listed("guardreasoner_vl")


def test_singguards_figures_are_those_of_its_report(pages: dict[str, str]) -> None:
    page, found = pages["published-f1"], dict[Cell, float]()
    response = ["beavertails", "safe_rlhf", "wildguard_test_response", "harmbench_response", "xstest_response_harmful"]
    for head, task, columns in (
        ("Prompt: order OAI Mod", "prompt", ["openai_moderation", "wildguard_test_prompt", "harmbench_prompt"]),
        ("Response: BeaverTails /", "response", response),
    ):
        for model, *cells in table(page, head):
            name = named(model.removesuffix(" strict / loose"))
            sizes = ("2B", "4B", "8B")
            names = [f"SingGuard {s}" for s in sizes] if name.startswith("SingGuard") else name.split(" / ") if "GPT" in name else [name]
            readings = ("strict", "loose") if "strict" in model else (None,)
            for column, cell in zip(columns, cells, strict=True):
                keys = [(n, r) for n in names for r in readings]
                found |= {(n, r, task, column, "f1"): v for (n, r), v in zip(keys, numbers(cell), strict=True)}
    other = re.search(r"WildGuard gets (\S+) and (\S+) there", page)
    assert other
    found["WildGuard 7B", None, "response", "safe_rlhf", "f1"] = float(other[1])
    found["WildGuard 7B", None, "response", "harmbench_response", "f1"] = float(other[2])
    seven = {row[0]: numbers(re.sub(r"\(.*?\)", "", row[1])) for row in table(page, "## 7.")}
    found["ShieldGemma 9B", None, "prompt", "harmbench_prompt", "f1"] = seven["ShieldGemma 9B, HarmBench prompt"][2]
    found["Llama Guard 3 8B", None, "response", "wildguard_test_response", "f1"] = seven["Llama Guard 3, WildGuard response"][2]
    assert found == listed("singguard")


def test_the_other_sources_figures_are_those_of_the_page(pages: dict[str, str]) -> None:
    page = pages["published-f1"].partition("## 6.")[2].partition("## 7.")[0]
    stated: dict[Cell, float] = {}
    measured = page.partition("F1 on OAI Mod / WildGuardMix test / Aegis: ")[2].partition("OR-Bench FPR: ")
    columns = ["openai_moderation", "wildguard_test_prompt", "aegis_safety_test"]
    for part in measured[0].strip().rstrip(";").split(";"):
        found = re.fullmatch(r"\s*(.*?) (\S+) / (\S+) / (\S+?)(?: \(contaminated\))?", part.strip())
        assert found, part
        stated |= {(found[1], None, "prompt", c, "f1"): float(v) for c, v in zip(columns, found.groups()[1:], strict=True)}
    short = {"Nemotron": "Nemotron CS", "Granite": "Granite Guardian"}
    for part in measured[2].partition(". WildGuardMix")[0].split(", "):
        name, _, value = part.rpartition(" ")
        stated[short.get(name, name), None, "prompt", "OR-Bench", "fpr"] = float(value)
    assert len(stated) == 34 and stated == listed("any_guardrail")

    gpt = re.search(r"gpt-oss-safeguard-20b, ToxicChat F1 (\S+) \(base gpt-oss-20b (\S+)\)", page)
    assert gpt and [*listed("gpt_oss_safeguard").values()] == [float(gpt[1]), float(gpt[2])]
    lean = re.search(r"response/refusal: (\S+) ± \S+ \(3-seed vote (\S+)\); same table WildGuard (\S+), GuardReasoner-1B (\S+), 3B (\S+)\.\s", page)
    assert lean and [*listed("leanguard").values()] == [float(v) for v in lean.groups()]
    many = re.search(r"Qwen3Guard 4B recall (\S+) best; WildGuard 7B F1 (\S+); gpt-oss-safeguard 20B recall (\S+); .* misses about (\d+) %", page)
    assert many
    assert listed("fourteen_guards") == {
        ("Qwen3Guard 4B", None, "prompt", "79,331 rows", "recall"): float(many[1]),
        ("WildGuard 7B", None, "prompt", "79,331 rows", "f1"): 100 * float(many[2]),
        ("gpt-oss-safeguard 20B", None, "prompt", "79,331 rows", "recall"): 100 * float(many[3]),
        ("Llama Guard 4 12B", None, "prompt", "79,331 rows", "missed"): float(many[4]),
    }


def weighted(cells: Mapping[Any, float], sizes: Mapping[Any, int]) -> float:
    return round(sum(cells[b] * n for b, n in sizes.items()) / sum(sizes.values()), 2)


def test_guardreasoners_means_come_out_of_its_figures_with_the_sizes_that_it_states() -> None:
    figures = [f for f in published_figures(load_published("guardreasoner")) if f.model.startswith("GuardReasoner")]
    means: dict[str, dict[str, float]] = {}
    for task in ("prompt", "response", "refusal"):
        for size in ("1B", "3B", "8B"):
            own = [f for f in figures if f.model == f"GuardReasoner {size}" and f.task == task]
            cells = {f.benchmark: f.value for f in own if f.benchmark}
            stated = {f.benchmark: f.cohort.n for f in own if f.benchmark and f.cohort.n}
            found = next(f.value for f in own if f.mean)
            # two decimals of each figure: their mean may be off by one hundredth
            assert weighted(cells, stated) == pytest.approx(found, abs=0.011)
            assert stated == {b: load_benchmark(b).sizes.paper for b in stated}
            means.setdefault(size, {})[task] = found
    for size, three in means.items():
        overall = next(f.value for f in figures if f.model == f"GuardReasoner {size}" and f.mean == "overall")
        assert sum(three.values()) / 3 == pytest.approx(overall, abs=0.011)


def test_the_refusal_mean_does_not_come_out_with_the_true_sizes() -> None:
    """449 and 1,725 rows give another mean than the paper's 499 and 1,777: spec E.1."""
    own = {
        f.benchmark: f.value for f in choose_published(["GuardReasoner 3B"]) if f.source == "guardreasoner" and f.task == "refusal" and f.benchmark
    }
    assert weighted(own, {"xstest_response_refusal": 499, "wildguard_test_refusal": 1777}) == 85.95
    assert weighted(own, {"xstest_response_refusal": 449, "wildguard_test_refusal": 1725}) != 85.95


def test_guardreasoner_vls_text_means_come_out_with_those_sizes_for_some_models_alone() -> None:
    """So its sizes are not known, and its columns state none."""
    figures = [f for f in published_figures(load_published("guardreasoner_vl")) if f.task == "prompt" and f.metric == "f1"]
    sizes = {b: n for b in PROMPT if (n := load_benchmark(b).sizes.paper)}
    off = {}
    for model in ("GuardReasoner 1B", "GuardReasoner 8B", "GuardReasoner-VL 7B"):
        cells = {f.benchmark: f.value for f in figures if f.model == model and f.benchmark in sizes}
        found = next(f.value for f in figures if f.model == model and f.mean == "text")
        off[model] = round(weighted(cells, sizes) - found, 2)
    assert off == {"GuardReasoner 1B": 0, "GuardReasoner 8B": 0, "GuardReasoner-VL 7B": 0.04}
    assert all(f.cohort.n is None for f in figures)


def test_a_benchmark_that_is_ours_goes_by_our_name() -> None:
    ours = set(benchmark_names())
    for figure in choose_published():
        if figure.benchmark is not None and re.fullmatch(r"[a-z][a-z0-9_]*", figure.benchmark):
            assert figure.benchmark in ours, figure
    assert {f.benchmark for f in choose_published()} >= ours


def test_every_source_says_where_it_is_from() -> None:
    for name in published_names():
        source = load_published(name)
        assert source.name == name and len(source.citation) > 10 and source.protocol.strip()


def cell(model: str, benchmark: str, source: str, reading: str | None = None) -> PublishedFigure:
    (found,) = (
        f
        for f in choose_published([source])
        if (f.model, f.benchmark, f.cohort.reading, f.metric) == (model, benchmark, reading, "f1") and "table 9" not in f.where
    )
    return found


def test_the_known_traps_never_share_a_column() -> None:
    gr, qwen, sing = (cell("WildGuard 7B", "safe_rlhf", s) for s in ("guardreasoner", "qwen3guard", "singguard"))
    assert apart(gr.cohort, qwen.cohort) is None
    assert apart(sing.cohort, qwen.cohort) == "SingGuard's own selection against the benchmark's own rows"
    strict, loose = (cell("Qwen3Guard-Gen 8B", "toxic_chat", "qwen3guard", r) for r in ("strict", "loose"))
    assert apart(strict.cohort, loose.cohort) == "reading strict against loose"
    paper = cell("GuardReasoner 8B", "xstest_response_refusal", "guardreasoner").cohort
    assert apart(Cohort(n=449, policy="reference"), paper) == "449 rows against 499"
    assert apart(Cohort(n=499, policy="clean"), paper) == "policy clean against reference"
    assert apart(Cohort(n=1725), cell("GuardReasoner 8B", "wildguard_test_prompt", "guardreasoner").cohort) == "1,725 rows against 1,756"
    assert apart(cell("o1-preview", "toxic_chat", "guardreasoner").cohort, Cohort(n=2853)) is not None
    groups = agreeing([(f, f.model, f.cohort) for f in (gr, strict, loose, qwen, sing)])
    assert [[f.source for f, _, _ in g.members] for g in groups] == [["guardreasoner", "qwen3guard", "qwen3guard"], ["qwen3guard"], ["singguard"]]
    assert groups[0].why is None and groups[2].why is not None


def test_a_prompt_sets_figures_of_one_model_apart_and_not_those_of_two() -> None:
    a, b = Cohort(prompt="one"), Cohort(prompt="another")
    assert apart(a, b, same_model=True) == "another prompt" and apart(a, b) is None


def test_the_spread_holds_the_cells_that_are_known_to_differ(pages: dict[str, str]) -> None:
    found = {(c["model"], c["benchmark"]): c for c in published_spread(choose_published())}
    known = {
        "ShieldGemma 9B, Aegis prompt": ("ShieldGemma 9B", "aegis_safety_test"),
        "ShieldGemma 9B, HarmBench prompt": ("ShieldGemma 9B", "harmbench_prompt"),
        "ShieldGemma 9B, XSTest response": ("ShieldGemma 9B", "xstest_response_harmful"),
        "Llama Guard 3, WildGuard response": ("Llama Guard 3 8B", "wildguard_test_response"),
        "GuardReasoner 8B, ToxicChat": ("GuardReasoner 8B", "toxic_chat"),
        "WildGuard, XSTest refusal": ("WildGuard 7B", "xstest_response_refusal"),
    }
    for name, values in table(pages["published-f1"], "## 7."):
        one = found[known[name]]
        assert {f["value"] for f in one["figures"]} == set(numbers(re.sub(r"\(.*?\)", "", values)))
        assert one["spread"] == round(one["high"] - one["low"], 2) > 0
    assert found["WildGuard 7B", "safe_rlhf"]["why"] == "SingGuard's own selection against the benchmark's own rows"


def test_sources_and_models_are_chosen_by_name_and_a_slip_names_the_nearest() -> None:
    assert {f.source for f in choose_published(["singguard"])} == {"singguard"}
    assert {f.model for f in choose_published(["guardreasoner 8b"])} == {"GuardReasoner 8B"}
    with pytest.raises(InputError, match="did you mean 'qwen3guard'"):
        choose_published(["qwen3gard"])


def test_a_source_of_ones_own_is_read_and_its_faults_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    good = """name: mine
version: 1
title: Mine
citation: "My paper, 2026"
url: null
read: paper
protocol: F1
tables:
  - where: table 1
    task: prompt
    columns: [{benchmark: toxic_chat, n: 10}]
    rows:
      - {model: M, figures: [50]}
"""
    path.write_text(good)
    (figure,) = choose_published([str(path)])
    assert (figure.model, figure.value, figure.cohort) == ("M", 50, Cohort(n=10, published="mine"))
    path.write_text(good.replace("[50]", "[50, 60]").replace("read: paper", "read: hearsay"))
    with pytest.raises(InputErrors) as caught:
        load_published(str(path))
    assert {e.where.rpartition("/")[2] for e in caught.value.errors if e.where} == {"mine.yaml:6:read", "mine.yaml:13:tables.0.rows.0.figures"}


def test_the_spread_that_the_page_shows_is_what_is_computed() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| (\w+) \| (.+?) \| ([\d.]+) \| (.*?) ?\|$", page.partition("--published-spread` shows")[2], re.M)
    found = {(f"{c['model']} ({c['reading']})" if c["reading"] else c["model"], c["benchmark"]): c for c in published_spread(choose_published())}
    assert len(rows) >= 5
    for model, benchmark, values, apart_by, why in rows:
        one = found[model, benchmark]
        assert values == ", ".join(f"{f['value']:.2f} {f['source']}" for f in one["figures"]) and float(apart_by) == one["spread"]
        assert bool(why) == bool(one["why"]) and why in (one["why"] or "")
