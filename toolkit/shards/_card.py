"""The data card: ``README.md`` of a shard folder, rendered from its manifest alone.

It opens with the metadata that the Hugging Face hub reads (hub docs, "Dataset Cards"): licence, sizes, languages, and which files are which split.
Text of the data and of recipes is in the card as text, never as markup.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from toolkit.common.plugins import Registry
from toolkit.common.yamlfile import dump_yaml
from toolkit.shards._embedded import MEDIA_BYTES
from toolkit.shards._kinds import holds_media
from toolkit.shards._row_counts import UNKNOWN
from toolkit.shards._versions import added_rows, title_of, versions

TEMPLATE_NOTE = (
    "> **Template reasoning.** The reasoning in these rows was put together by guardkit's embedded template teacher, from phrases and the rows' "
    "own labels. It is for trying the tool, not for training a guard that is to be used."
)
SYNTHETIC_NOTE = (
    "> **Synthetic rows.** {n:,} of the {rows:,} rows were written by a model for this set: those that name one in the column `seed_model`. What a "
    "model writes is all too like itself: hold a guard against rows that people wrote, too."
)
MEDIA_NOTE = "Rows refer to pictures, clips or sounds by name and sha256 (column `media`). The files themselves are not part of this set."
BYTES_NOTE = "Rows have pictures, clips or sounds: by name and sha256 in the column `media`, their bytes in the column `media_bytes`."
PAPER = {
    "wildguard_train": ("WildGuardTrain-R", 86_759, 323_930, 3.73, 138.35),
    "aegis_train": ("AegisTrain-R", 10_798, 37_082, 3.43, 140.83),
    "beavertails_30k_train": ("BeaverTailsTrain-R", 27_186, 90_553, 3.33, 114.49),
    "toxicchat_train": ("ToxicChatTrain-R", 2_801, 9_094, 3.25, 143.89),
}
"""GuardReasoner's training set by source: part, samples, steps, mean steps a sample, mean characters a step (paper, Table 1)."""
PAPER_ALL = ("GuardReasonerTrain", 127_544, 460_659, 3.61, 133.97)
ORIGINS = {
    "human": "annotated by people",
    "vote": "aggregated from several annotators",
    "inferred": "written by a teacher; never to be taken for human",
    "consensus": "agreed by several models",
    "reviewed": "set or confirmed by a person who was shown what speaks against it",
    "written": "set by the author of a row written for guardkit",
    "constructed": "the row was written by a model to have it, and nobody has checked it",
    "absent": "no label: the source does not say",
    "not_applicable": "no label: the task does not apply",
    "to_infer": "no label yet",
}
"""What the words of ``label_<task>_source`` mean (schemas/records/seed.yaml)."""
NO_LABEL = ("absent", "not_applicable", "to_infer")
"""Those of them that say that there is no label."""
LIMITS = (
    "Made for training guard models, which judge whether prompts and responses are harmful; for nothing that acts on people unreviewed.",
    "Rows hold harmful requests and, with some sources, harmful responses, as guards must see them. Do not use them to train a model to answer.",
    "Labels are the sources' own, with their errors and their idea of harm; the table of their origin says which were written by a model.",
    "Reasoning is written by a model that mostly was shown the labels: it argues for a label, and is no evidence that the label is right.",
)


Section = Callable[[Mapping[str, Any]], Sequence[str]]
"""Lines of Markdown from a shard folder's manifest; none where it says nothing of the matter. Text out of data goes through `plain`."""

BEFORE = ("licence", "versions", "splits", "labels", "categories", "lengths", "models", "outcomes", "counts")
AFTER = ("limits", "files")
CARD_SECTIONS: Registry[Section] = Registry(
    "card section",
    "guardkit.card_sections",
    {name: f"{__name__}:{name}_part" for name in (*BEFORE, *AFTER)},
    lambda name, found: callable(found),
    "card section: a function from a manifest to lines of Markdown",
)
"""The sections by name. Those of other packages are between `BEFORE` and `AFTER`, where the manifest names them (`sections` of the operator
`shards`): no package changes a card by being installed."""


def card(manifest: Mapping[str, Any], title: str | None = None) -> str:
    """The data card: front matter in YAML, then Markdown.

    Args:
        manifest: of a shard folder, of any format that is read; what an older one does not say is left out.
        title: heading (default: the manifest's own).
    """
    title = title or str(manifest.get("title") or "guardkit shards")
    lines = [f"# {plain(title)}", ""]
    if "template" in manifest["counts"].get("teacher", {}):
        lines += [TEMPLATE_NOTE, ""]
    if n := sum(k for model, k in manifest["counts"].get("seed_model", {}).items() if model != UNKNOWN):
        lines += [SYNTHETIC_NOTE.format(n=n, rows=manifest["rows"]), ""]
    about = [f"{manifest['rows']:,} rows in {len(manifest['files']):,} file(s)"]
    about += [f"{key} {plain(str(manifest[key]))}" for key in ("guard",) if key in manifest]
    if recipe := manifest.get("made_from", {}).get("recipe"):
        about.append(plain(f"recipe {recipe} {manifest['made_from'].get('version', '')}".rstrip()))
    lines += [f"{'; '.join(about)}. Made by guardkit; `manifest.json` has every figure, and `guardkit verify` checks the files against it.", ""]
    if holds_media((c["name"], c["type"]) for c in manifest.get("columns", ())):
        lines += [BYTES_NOTE if any(c["name"] == MEDIA_BYTES for c in manifest["columns"]) else MEDIA_NOTE, ""]
    for name in (*BEFORE, *manifest.get("sections", ()), *AFTER):
        lines += CARD_SECTIONS.get(name)(manifest)
    return front_matter(manifest, title) + "\n".join(lines)


def front_matter(manifest: Mapping[str, Any], title: str) -> str:
    """The hub's metadata: valid for `huggingface_hub.DatasetCardData`."""
    licence = manifest.get("licence", {})
    splits = sorted(manifest["counts"].get("split", {}))
    languages = [name for name in manifest["counts"].get("language", {}) if re.fullmatch(r"[a-z]{2,3}", name)]
    meta: dict[str, Any] = {"pretty_name": re.sub("[<>]", "", _one_line(title)), "license": licence.get("hub") or "other"}
    if licence.get("hub") == "other":
        meta["license_name"] = "see-the-rows"
        meta["license_link"] = "README.md"
    if languages:
        meta["language"] = languages
    meta["size_categories"] = [_size(manifest["rows"])]
    meta["task_categories"] = ["text-generation"]
    meta["tags"] = ["guardkit", "guard-model", "safety", "reasoning"]
    data_files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits]
    meta["configs"] = [{"config_name": "default", "data_files": data_files}]
    return f"---\n{dump_yaml(meta)}---\n\n"


def _size(rows: int) -> str:
    """The hub's word for a number of rows."""
    steps = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"), (10**8, "10M<n<100M")]
    return next((word for limit, word in steps if rows < limit), "100M<n<1B")


def licence_part(manifest: Mapping[str, Any]) -> list[str]:
    """Licence of the set, and of its rows."""
    licence = manifest.get("licence")
    if licence is None:
        words = ", ".join(plain(name) for name in sorted(manifest["counts"].get("licence", {}))) or "unknown"
        return [f"Licences of the rows: {words}.", ""]
    out = ["## Licence", ""]
    if licence["id"] is None:
        out += ["No one licence fits all rows: each row keeps its own (column `licence`).", ""]
    else:
        how = "asked for" if licence.get("target") else "the least strict that all rows may go into"
        out += [f"The set: [{plain(licence['name'])}]({licence['text']}) ({plain(licence['id'])}; {how}). Each row names its own licence.", ""]
    rows = []
    for line in licence["rows"]:
        what = "; ".join([*line["obligations"], *(f"ruled out: {r}" for r in line["restrictions"])])
        link = f"<{line['text']}>" if line["text"] else "not in guardkit's table of licences"
        rows.append([plain(line["licence"]), f"{line['rows']:,}", plain(what) or "none" if line["id"] else "unknown: ask the source", link])
    return out + markdown_table(["licence of the rows", "rows", "what it asks for", "text"], rows, right=(1,), marked=True)


def versions_part(manifest: Mapping[str, Any]) -> list[str]:
    """The versions before this one: what came with each, under which licences; or the one that it is with other names of categories."""
    if again := manifest.get("rewritten"):
        changed = ", ".join(f"{plain(old)} → {plain(new) if new else 'none'}" for old, new in again["categories"].items())
        before = f"{plain(title_of(again['manifest']))} (manifest {again['manifest_sha256'][:16]}…)"
        return ["## Versions", "", f"The rows of {before}, with other names of categories: {changed}.", ""]
    if not manifest.get("extends"):
        return []
    rows, sha256 = [], ""
    for version in versions(manifest):
        made, licence = version.get("made_from") or {}, version.get("licence") or {}
        recipe = f"{made['recipe']} {made.get('version', '')}".rstrip() if made.get("recipe") else ""
        of_rows = ", ".join(line["licence"] for line in licence.get("rows", []))
        figures = [f"{added_rows(version):,}", f"{version['rows']:,}"]
        name = title_of(version) if sha256 else f"{title_of(version)} (this one)"
        rows.append([name, recipe, *figures, licence.get("id") or "none", of_rows, f"{sha256[:16]}…" if sha256 else ""])
        sha256 = (version.get("extends") or {}).get("manifest_sha256", "")
    note = (
        "This set extends another one: the files of the versions before are in it unchanged, and `extends` in `manifest.json` holds their "
        "manifests. How it was made is described below for the rows that came with this version; of the others their own manifests say it."
    )
    left = manifest["extends"].get("left_out") or {}
    gone = [f"Not added, as they clash with rows of before: {', '.join(f'{n:,} {plain(why)}' for why, n in left.items())}.", ""] if left else []
    if dropped := manifest["extends"].get("columns_left_out"):
        gone += [f"Columns of the new rows that are not in this set, as the versions before lack them: {', '.join(map(plain, dropped))}.", ""]
        written = ", ".join(f"{plain(model)} {n:,}" for model, n in dropped.get("seed_model", {}).items())
        gone += [f"**Synthetic rows.** Of the new rows were written by a model for this set: {written}.", ""] if written else []
    head = ["version", "recipe", "rows added", "rows", "licence of the set", "licences of the rows", "manifest (sha256)"]
    return ["## Versions", "", note, "", *gone, *markdown_table(head, rows, right=(2, 3))]


def splits_part(manifest: Mapping[str, Any]) -> list[str]:
    """The splits and their sizes."""
    sizes: dict[str, list[int]] = {}
    for about in manifest["files"].values():
        n = sizes.setdefault(about["split"], [0, 0, 0])
        n[:] = [n[0] + about["rows"], n[1] + 1, n[2] + about["bytes"]]
    rows = [[split, f"{n:,}", f"{files:,}", f"{size / 1e6:,.1f}"] for split, (n, files, size) in sorted(sizes.items())]
    return ["## Splits", "", *markdown_table(["split", "rows", "files", "MB"], rows, right=(1, 2, 3))]


def labels_part(manifest: Mapping[str, Any]) -> list[str]:
    """For each task: labels by source, and where they come from."""
    lines = manifest.get("tables", {}).get("labels", [])
    out = ["## Labels", ""] if lines else []
    for task in dict.fromkeys(line["task"] for line in lines):
        own = [line for line in lines if line["task"] == task]
        out += [f"### {plain(task)}", "", *_pivot(own, ["source"], "label")]
        out += _pivot([{**line, "origin": _origin(line["origin"])} for line in own], ["origin"], "label")
    return out


def _origin(word: str) -> str:
    return f"{word} ({ORIGINS[word]})" if word in ORIGINS else word


def categories_part(manifest: Mapping[str, Any]) -> list[str]:
    """For each task: labels by category and source."""
    lines = manifest.get("tables", {}).get("categories", [])
    out = ["## Categories", "", "A row counts once for each of its categories.", ""] if lines else []
    for task in dict.fromkeys(line["task"] for line in lines):
        out += [f"### {plain(task)} by category", "", *_pivot([line for line in lines if line["task"] == task], ["category", "source"], "label")]
    return out


def _pivot(lines: Sequence[Mapping[str, Any]], down: Sequence[str], across: str) -> list[str]:
    """A table of rows by the values of `down`, one column for each value of `across`, and the sum."""
    heads = sorted({line[across] for line in lines})
    cells: dict[tuple[str, ...], dict[str, int]] = {}
    for line in lines:
        row = cells.setdefault(tuple(line[name] for name in down), dict.fromkeys(heads, 0))
        row[line[across]] += line["rows"]
    body = [[*key, *(f"{row[h]:,}" for h in heads), f"{sum(row.values()):,}"] for key, row in sorted(cells.items())]
    return markdown_table([*down, *heads, "rows"], body, right=range(len(down), len(down) + len(heads) + 1))


def lengths_part(manifest: Mapping[str, Any]) -> list[str]:
    """Steps of the reasoning by source, beside the paper's."""
    lines = manifest.get("tables", {}).get("lengths", [])
    if not any(line["rows"] for line in lines):
        return []
    rows = [_length(line["source"], line["rows"], line["steps"], line["chars"], PAPER.get(line["source"])) for line in lines]
    n, steps, chars = (sum(line[k] for line in lines) for k in ("rows", "steps", "chars"))
    rows.append(_length("all", n, steps, chars, PAPER_ALL))
    head = [
        "source",
        "samples",
        "steps",
        "mean steps",
        "mean characters a step",
        "paper: part",
        "samples",
        "steps",
        "mean steps",
        "mean characters a step",
    ]
    note = "A step is a numbered step of the reasoning on a task. Beside it the parts of GuardReasoner's training set (paper, Table 1)."
    return ["## Steps", "", note, "", *markdown_table(head, rows, right=(1, 2, 3, 4, 6, 7, 8, 9))]


def _length(name: str, rows: int, steps: int, chars: int, paper: tuple[str, int, int, float, float] | None) -> list[str]:
    own = [name, f"{rows:,}", f"{steps:,}", f"{steps / rows:.2f}" if rows else "", f"{chars / steps:.2f}" if steps and chars else ""]
    return own + ([paper[0], f"{paper[1]:,}", f"{paper[2]:,}", f"{paper[3]:.2f}", f"{paper[4]:.2f}"] if paper else [""] * 5)


def models_part(manifest: Mapping[str, Any]) -> list[str]:
    """The models that wrote in the rows."""
    models = manifest.get("models") or []
    if not models:
        return []
    rows = [[m["role"], m["model"], f"{m['rows']:,}", _terms(m["terms"])] for m in models]
    out = ["## Models", "", *markdown_table(["role", "model", "rows", "terms of its provider"], rows, right=(2,))]
    return out + _usage(manifest)


def _terms(terms: Mapping[str, str] | None) -> str:
    return f"{terms['name']} ({terms['terms']}): {terms['note']}" if terms else ""


def _usage(manifest: Mapping[str, Any]) -> list[str]:
    """Tokens and dollars of the answers that the rows were made from."""
    rows = []
    for step in manifest.get("made_from", {}).get("steps", []):
        for model, used in (step.get("stats") or {}).get("usage", {}).items():
            dollars = "" if used["dollars"] is None else f"{used['dollars']:,.2f}"
            rows.append([step["step"], model, f"{used['answers']:,}", f"{used['prompt_tokens']:,}", f"{used['completion_tokens']:,}", dollars])
    return markdown_table(["step", "model", "answers", "prompt tokens", "completion tokens", "dollars"], rows, right=(2, 3, 4, 5)) if rows else []


def outcomes_part(manifest: Mapping[str, Any]) -> list[str]:
    """What became of the rows, step by step."""
    steps = manifest.get("made_from", {}).get("steps", [])
    if not steps:
        return []
    rows, why = [], []
    for s in steps:
        gone = [sum(s["rejected"].values()), sum(s["set_aside"].values()), s["merged"]]
        rows.append([s["step"], f"{s['use']} {s['version']}", f"{s['in']:,}", f"{s['kept']:,}", *(f"{n:,}" if n else "" for n in gone)])
        for outcome in ("rejected", "set_aside"):
            why += [[s["step"], outcome.replace("_", " "), reason, f"{n:,}"] for reason, n in s[outcome].items()]
    out = ["## How it was made", "", *markdown_table(["step", "operator", "in", "kept", "rejected", "set aside", "merged"], rows, right=range(2, 7))]
    return out + (markdown_table(["step", "outcome", "reason", "rows"], why, right=(3,)) if why else [])


def counts_part(manifest: Mapping[str, Any]) -> list[str]:
    """Rows by the values of some columns."""
    shown = [name for name in ("source", "teacher", "task", "language") if name in manifest["counts"]]
    out = ["## Rows", ""] if shown else []
    for name in shown:
        out += markdown_table([name, "rows"], [[value, f"{n:,}"] for value, n in manifest["counts"][name].items()], right=(1,))
    return out


def limits_part(manifest: Mapping[str, Any]) -> list[str]:
    """What the set is for, and what not."""
    return ["## Intended use and limits", "", *(f"- {line}" for line in LIMITS), ""]


def files_part(manifest: Mapping[str, Any]) -> list[str]:
    """The files and their columns."""
    files = [[n, f"{f['rows']:,}", f"{f['sha256'][:16]}…"] for n, f in manifest["files"].items()]
    columns = [[c["name"], c["type"], "yes" if c["nullable"] else "no"] for c in manifest["columns"]]
    out = ["## Files and columns", "", *markdown_table(["file", "rows", "sha256"], files, right=(1,))]
    return out + markdown_table(["column", "type", "may be null"], columns)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = (), marked: bool = False) -> list[str]:
    """A Markdown table and a blank line. `right`: columns set to the right; `marked`: the cells are Markdown already."""
    to_right = set(right)
    lines = [[plain(h) for h in head], ["---:" if i in to_right else "---" for i in range(len(head))]]
    lines += [[cell if marked else plain(cell) for cell in row] for row in rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def _one_line(text: str) -> str:
    """Text as one line, without what a terminal would act on, or what shows it in another order than it has (Unicode's bidirectional controls)."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+", " ", text)


def plain(text: str) -> str:
    """Text as one line without anything that Markdown, HTML or a terminal would act on."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", html.escape(_one_line(text), quote=False))
