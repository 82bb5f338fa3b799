"""What a run came to: figures for machines, tables for people."""

from typing import TYPE_CHECKING

from toolkit.common.lazy import lazily

if TYPE_CHECKING:
    from toolkit.report._audit_tables import audit_text as audit_text
    from toolkit.report._certificate_tables import CERTIFICATE_FORMATS as CERTIFICATE_FORMATS
    from toolkit.report._certificate_tables import certificate_text as certificate_text
    from toolkit.report._certificate_tables import write_certificate as write_certificate
    from toolkit.report._compare_tables import COMPARE_FORMATS as COMPARE_FORMATS
    from toolkit.report._compare_tables import comparison_csv as comparison_csv
    from toolkit.report._compare_tables import comparison_text as comparison_text
    from toolkit.report._compare_tables import spread_text as spread_text
    from toolkit.report._compare_tables import write_comparison as write_comparison
    from toolkit.report._coverage_tables import COVERAGE_SUFFIXES as COVERAGE_SUFFIXES
    from toolkit.report._coverage_tables import coverage_text as coverage_text
    from toolkit.report._coverage_tables import write_coverage as write_coverage
    from toolkit.report._evaluation_tables import evaluation_text as evaluation_text
    from toolkit.report._gate_tables import gate_text as gate_text
    from toolkit.report._gate_tables import write_gate as write_gate
    from toolkit.report._printing import Figures as Figures
    from toolkit.report._printing import Lines as Lines
    from toolkit.report._printing import as_html as as_html
    from toolkit.report._printing import as_text as as_text
    from toolkit.report._report_page import Page as Page
    from toolkit.report._report_page import picture_files as picture_files
    from toolkit.report._report_page import report_html as report_html
    from toolkit.report._summary import run_state as run_state
    from toolkit.report._summary import summarise as summarise
    from toolkit.report._summary_tables import print_figures as print_figures
    from toolkit.report._summary_tables import print_summary as print_summary
    from toolkit.report._summary_tables import summary_html as summary_html
    from toolkit.report._training_curve import sparkline as sparkline
    from toolkit.report._training_curve import training_lines as training_lines

__getattr__, __dir__ = lazily(__name__)
