"""Harm categories, and each source's own labels mapped to them, read from ``schemas/taxonomies/<name>.yaml``."""

from toolkit.taxonomy._category import NAME, SEVERITIES, Category, Rule
from toolkit.taxonomy._file_change import change_category
from toolkit.taxonomy._policy_texts import find_policy, policies_text
from toolkit.taxonomy._taxonomy import Taxonomy, load_taxonomy, parse_taxonomy

__all__ = ["NAME", "SEVERITIES", "Category", "Rule", "Taxonomy", "change_category", "find_policy", "load_taxonomy", "parse_taxonomy", "policies_text"]
