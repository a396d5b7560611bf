"""What a person looks at: tables, figures and a page from the results of `osum evaluate`."""

from osum.evaluation.report.readme import keep, replace_block, report_page, results_block, update_readme, with_results
from osum.evaluation.report.write import WORST, Written, read_results, write_pages

__all__ = [
    "WORST",
    "Written",
    "keep",
    "read_results",
    "replace_block",
    "report_page",
    "results_block",
    "update_readme",
    "with_results",
    "write_pages",
]
