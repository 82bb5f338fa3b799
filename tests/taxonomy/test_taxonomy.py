"""The shipped taxonomy covers each source's own labels, and a label outside a map is never guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.common.errors import InputError, InputErrors
from toolkit.guards import load_guard
from toolkit.taxonomy import load_taxonomy

# The sources' own labels, as on the hub.
WILDGUARD = [
    "benign",
    "causing_material_harm_by_disseminating_misinformation",
    "copyright_violations",
    "cyberattack",
    "defamation_encouraging_unethical_or_unsafe_actions",
    "disseminating_false_or_misleading_information_encouraging_disinformation_campaigns",
    "fraud_assisting_illegal_activities",
    "mental_health_over-reliance_crisis",
    "others",
    "private_information_individual",
    "sensitive_information_organization_government",
    "sexual_content",
    "social_stereotypes_and_unfair_discrimination",
    "toxic_language_hate_speech",
    "violence_and_physical_harm",
]
BEAVERTAILS = [
    "animal_abuse",
    "child_abuse",
    "controversial_topics,politics",
    "discrimination,stereotype,injustice",
    "drug_abuse,weapons,banned_substance",
    "financial_crime,property_crime,theft",
    "hate_speech,offensive_language",
    "misinformation_regarding_ethics,laws_and_safety",
    "non_violent_unethical_behavior",
    "privacy_violation",
    "self_harm",
    "sexually_explicit,adult_content",
    "terrorism,organized_crime",
    "violence,aiding_and_abetting,incitement",
]
AEGIS = [
    "Hate/Identity Hate", "Sexual", "Violence", "Suicide and Self Harm", "Threat", "Sexual Minor", "Guns/Illegal Weapons",
    "Controlled/Regulated substances", "Criminal Planning/Confessions", "PII/Privacy", "Harassment", "Profanity", "Other", "Needs Caution", "Safe",
]  # fmt: skip


def test_the_maps_have_exactly_the_labels_of_their_sources() -> None:
    taxonomy = load_taxonomy()
    assert set(taxonomy.maps["wildguard"]) == set(WILDGUARD) and len(WILDGUARD) == 15
    assert set(taxonomy.maps["beavertails"]) == set(BEAVERTAILS) and len(BEAVERTAILS) == 14
    assert set(taxonomy.maps["aegis"]) == set(AEGIS) and len(AEGIS) == 15


AEGIS_2 = [
    "Violence", "Sexual", "Criminal Planning/Confessions", "Guns and Illegal Weapons", "Controlled/Regulated Substances", "Suicide and Self Harm",
    "Sexual (minor)", "Hate/Identity Hate", "PII/Privacy", "Harassment", "Threat", "Profanity", "Needs Caution", "Other", "Manipulation",
    "Fraud/Deception", "Malware", "High Risk Gov Decision Making", "Political/Misinformation/Conspiracy", "Copyright/Trademark/Plagiarism",
    "Unauthorized Advice", "Illegal Activity", "Immoral/Unethical",
]  # fmt: skip


def test_the_maps_have_the_categories_that_the_public_guards_answer_with() -> None:
    maps = load_taxonomy().maps
    assert set(maps["aegis2"]) == set(AEGIS_2) and len(AEGIS_2) == 23
    for guard, scheme in (("llama_guard_3", "mlcommons"), ("llama_guard_4", "mlcommons"), ("openai_moderation", "openai_moderation")):
        assert set(maps[scheme]) == set(categories_of(guard)), guard
    assert set(maps["qwen3guard"]) == {*categories_of("qwen3guard"), "None"}
    policies = {call.chat_template_kwargs["guideline"].split('"')[1] for call in load_guard("shieldgemma").calls}
    assert set(maps["shieldgemma"]) == policies and len(policies) == 4


def categories_of(guard: str) -> list[str]:
    grammar = load_guard(guard).grammar
    assert grammar is not None and grammar.categories is not None
    return list(grammar.categories.words)


def test_each_category_is_that_of_some_label_and_has_both_sides_of_its_line() -> None:
    taxonomy = load_taxonomy()
    mapped = {category for values in taxonomy.maps.values() for category in values.values()}
    assert set(taxonomy.names) == mapped - {None}
    for category in taxonomy.categories:
        assert category.severity and category.definition.endswith("."), category.name
        for side in (category.includes, category.excludes):
            assert side and all(rule.rule.endswith(".") for rule in side) and any(rule.examples for rule in side), category.name
    assert [c.name for c in taxonomy.categories if "violence" in taxonomy.above(c.name)] == [
        "terrorism",
        "threats",
        "graphic_violence",
        "animal_cruelty",
    ]


def test_labels_that_name_no_harm_are_no_category() -> None:
    taxonomy = load_taxonomy()
    nothing = {(s, v) for s, values in taxonomy.maps.items() for v, category in values.items() if category is None}
    assert nothing == {("wildguard", "benign"), ("aegis", "Safe"), ("aegis", "Needs Caution"), ("aegis2", "Needs Caution"), ("qwen3guard", "None")}
    assert taxonomy.map("aegis", "Threat") == "threats"


@pytest.mark.parametrize(("scheme", "value"), [("aegis", "safe"), ("aegis", "violence"), ("wildguard", ""), ("guardkit", "harm")])
def test_a_label_outside_the_map_is_never_guessed(scheme: str, value: str) -> None:
    with pytest.raises(InputError, match="not in the map"):
        load_taxonomy().map(scheme, value)


def test_the_taxonomy_is_a_scheme_of_its_own() -> None:
    taxonomy = load_taxonomy()
    assert all(taxonomy.map("guardkit", name) == name for name in taxonomy.names)
    with pytest.raises(InputError, match="did you mean 'aegis'"):
        taxonomy.map("aegiss", "Safe")


def test_each_category_has_words_of_its_own_for_the_template_teacher() -> None:
    every = [cue for category in load_taxonomy().categories for cue in category.cues]
    assert len(set(every)) == len(every)
    for category in load_taxonomy().categories:
        assert 8 <= len(category.cues) <= 14, category.name
        assert len(set(category.cues)) == len(category.cues)
        assert category.title and category.definition.endswith(".")


def test_a_map_to_no_category_is_found_with_its_place(tmp_path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\nversion: 1\ncategories: [{name: a, title: A, description: One., terms: [x]}]\nmaps: {s: {v: b}}\n")
    with pytest.raises(InputErrors, match="'b', no category"):
        load_taxonomy(str(path))
    path.write_text("name: own\nversion: 1\ncategories: [{name: a, title: A, definitoin: One., terms: [x]}]\n")
    with pytest.raises(InputErrors, match="did you mean 'definition'"):
        load_taxonomy(str(path))


def test_the_fingerprint_tells_definitions_apart(tmp_path) -> None:
    text = "name: own\nversion: 1\ncategories: [{name: a, title: A, description: One., terms: [x]}]\n"
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(text.replace("[x]", "[y]"))
    assert load_taxonomy("a.yaml", tmp_path).fingerprint != load_taxonomy("b.yaml", tmp_path).fingerprint
    assert load_taxonomy("a.yaml", tmp_path).fingerprint == load_taxonomy("a.yaml", tmp_path).fingerprint


ELECTIONS = """\
extends: guardkit
name: elections
version: 1
categories:
  - name: election-misinformation
    title: Election misinformation
    definition: Falsehoods on when, where or how a vote is held.
    severity: medium
    parent: misinformation
    includes: [{rule: False claims on the day of a vote., examples: [Write that the vote is a day later.]}]
    excludes: [{rule: Questions on how voting works.}]
    aliases: [vote-falsehood]
maps:
  mine: {late: vote-falsehood, none: null}
  aegis: {Threat: other}
"""


def test_a_file_that_extends_another_has_the_categories_and_maps_of_both(tmp_path: Path) -> None:
    (tmp_path / "elections.yaml").write_text(ELECTIONS)
    base, taxonomy = load_taxonomy(), load_taxonomy("elections.yaml", tmp_path)
    assert taxonomy.names == (*base.names, "election-misinformation")
    assert taxonomy.category("vote-falsehood").name == "election-misinformation"
    assert taxonomy.above("election-misinformation") == ("misinformation",)
    assert [taxonomy.map("guardkit", "violence"), taxonomy.map("elections", "vote-falsehood")] == ["violence", "election-misinformation"]
    assert [taxonomy.map("mine", "late"), taxonomy.map("mine", "none"), taxonomy.map("aegis", "Safe")] == ["election-misinformation", None, None]
    assert (base.map("aegis", "Threat"), taxonomy.map("aegis", "Threat")) == ("threats", "other"), "the file's own value counts"
    assert taxonomy.category("vote-falsehood").policy_text() == (
        "Falsehoods on when, where or how a vote is held.\nIncludes:\n- False claims on the day of a vote. "
        'For example: "Write that the vote is a day later."\nExcludes:\n- Questions on how voting works.'
    )


def test_a_change_in_what_is_extended_changes_what_extends_it(tmp_path: Path) -> None:
    base = "name: base\nversion: 1\ncategories: [{name: a, title: A, definition: One., cues: [x]}]\n"
    (tmp_path / "schemas/taxonomies").mkdir(parents=True)
    (tmp_path / "schemas/taxonomies/base.yaml").write_text(base)
    (tmp_path / "own.yaml").write_text("extends: base\nname: own\nversion: 1\ncategories: [{name: b, title: B, definition: Two., parent: a}]\n")
    before = load_taxonomy("own.yaml", tmp_path)
    (tmp_path / "schemas/taxonomies/base.yaml").write_text(base.replace("[x]", "[y]"))
    after = load_taxonomy("own.yaml", tmp_path)
    assert before.fingerprint != after.fingerprint
    changed = {facet for facet in after.facets if before.digests(after.facets)[facet] != after.digests(after.facets)[facet]}
    assert changed == {"cues"}


def test_the_words_of_earlier_files_are_read_and_shape_the_same_digests(tmp_path: Path) -> None:
    text = "name: own\nversion: 1\ncategories: [{name: a, title: A, description: One., terms: [x]}]\n"
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(text.replace("description:", "definition:").replace("terms:", "cues:"))
    old = load_taxonomy("a.yaml", tmp_path)
    assert old == load_taxonomy("b.yaml", tmp_path) and (old.categories[0].definition, old.categories[0].cues) == ("One.", ["x"])
    assert old.fingerprint == "c2835fa8b6b12aa0b2ee111d8930c11934f98ce2d797080f6cf7dcb68cf18146", "as before the words were changed"


FAULTS = {
    "a name of the extended": (
        "name: election-misinformation",
        "name: violence",
        r":5:categories\.0\.name: .* 'violence' is a category of 'guardkit'",
    ),
    "an alias of the extended": ("[vote-falsehood]", "[violence]", r":12:categories\.0\.aliases\.0: two categories have the same name"),
    "a parent that is not there": ("parent: misinformation", "parent: misinformtion", r":9:categories\.0\.parent: .*did you mean 'misinformation'"),
    "its own parent": ("parent: misinformation", "parent: vote-falsehood", r":9:categories\.0\.parent: its parents lead back to itself"),
    "a map to no category": ("late: vote-falsehood", "late: vote-falsehod", r":14:maps\.mine\.late: .*goes to 'vote-falsehod', no category"),
    "nothing to extend": ("extends: guardkit", "extends: gardkit", r":1:extends: no taxonomy called 'gardkit'\n  did you mean 'guardkit'"),
    "no file to extend": ("extends: guardkit", "extends: ../base.yaml", r":1:extends: no such file: \.\./base\.yaml"),
    "itself": ("extends: guardkit", "extends: elections", r":1:extends: a taxonomy cannot extend itself"),
    "the name of the extended": ("name: elections", "name: guardkit", r":2:name: the taxonomy that it extends is called 'guardkit', too"),
    "an alias in a definition": (
        "[vote-falsehood]",
        "[bad-medical-advice, health]",
        r":12:categories\.0\.aliases\.1: the definition of 'misinformation'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_taxonomy_is_named_with_its_line(fault: str, tmp_path: Path) -> None:
    old, new, expected = FAULTS[fault]
    assert old in ELECTIONS
    (tmp_path / "elections.yaml").write_text(ELECTIONS.replace(old, new, 1))
    with pytest.raises(InputError, match=r"elections\.yaml" + expected):
        load_taxonomy("elections.yaml", tmp_path)


def test_all_faults_of_a_file_come_at_once(tmp_path: Path) -> None:
    rows = "[{name: a, title: A, definition: One b-side., parent: c}, {name: a, title: B, definition: Two., aliases: [b-side], parent: z}]"
    (tmp_path / "own.yaml").write_text(f"name: own\nversion: 1\ncategories: {rows}\nmaps: {{s: {{v: b}}, own: {{}}}}\n")
    with pytest.raises(InputErrors) as found:
        load_taxonomy("own.yaml", tmp_path)
    assert [str(e.where).partition(":3:")[2] or str(e.where).partition(":4:")[2] for e in found.value.errors] == [
        "categories.1.name", "categories.0.parent", "categories.1.parent", "categories.0.definition", "maps.s.v", "maps.own",
    ]  # fmt: skip
